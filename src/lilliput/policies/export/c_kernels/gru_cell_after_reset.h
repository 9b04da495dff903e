#include "sigmoid_value.h"
#include "tanh_value.h"

/* As gru_cell, with the third gate's sums taken of the hidden state that the reset gates let through. */
KERNEL void gru_cell_after_reset(const float *RESTRICT gates, const float *RESTRICT hidden_gates,
                                 const float *RESTRICT reset_gates, size_t n, float *RESTRICT hidden, float *RESTRICT y)
{
    size_t i;
    for (i = 0; i < n; i++) {
        const float update = sigmoid_value(gates[n + i] + hidden_gates[n + i]);
        const float fresh = tanh_value(gates[2 * n + i] + reset_gates[2 * n + i]);
        const float added = (1.0f - update) * fresh, kept = update * hidden[i];
        hidden[i] = added + kept;
        y[i] = hidden[i];
    }
}
