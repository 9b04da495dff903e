#include "sigmoid_value.h"
#include "tanh_value.h"

/* A step of n units: from both sums of their gates (input, forget, cell, output) the new cells and hidden state. */
KERNEL void lstm_cell(const float *RESTRICT gates, const float *RESTRICT hidden_gates, size_t n, float *RESTRICT cell,
                      float *RESTRICT hidden, float *RESTRICT y)
{
    size_t i;
    for (i = 0; i < n; i++) {
        const float in = sigmoid_value(gates[i] + hidden_gates[i]);
        const float forget = sigmoid_value(gates[n + i] + hidden_gates[n + i]);
        const float fresh = tanh_value(gates[2 * n + i] + hidden_gates[2 * n + i]);
        const float out = sigmoid_value(gates[3 * n + i] + hidden_gates[3 * n + i]);
        const float kept = forget * cell[i], added = in * fresh;
        cell[i] = kept + added;
        hidden[i] = out * tanh_value(cell[i]);
        y[i] = hidden[i];
    }
}
