#include "sigmoid_value.h"
#include "tanh_value.h"

/* A step of n units: from both sums of their gates (reset, update, new) the new hidden state. */
KERNEL void gru_cell(const float *RESTRICT gates, const float *RESTRICT hidden_gates, size_t n, float *RESTRICT hidden,
                     float *RESTRICT y)
{
    size_t i;
    for (i = 0; i < n; i++) {
        const float reset = sigmoid_value(gates[i] + hidden_gates[i]);
        const float update = sigmoid_value(gates[n + i] + hidden_gates[n + i]);
        const float allowed = reset * hidden_gates[2 * n + i];
        const float fresh = tanh_value(gates[2 * n + i] + allowed);
        const float added = (1.0f - update) * fresh, kept = update * hidden[i];
        hidden[i] = added + kept;
        y[i] = hidden[i];
    }
}
