#include "sigmoid_value.h"

/* y = the hidden state as the reset gates let it through. */
KERNEL void gru_reset(const float *RESTRICT gates, const float *RESTRICT hidden_gates, size_t n,
                      const float *RESTRICT hidden, float *RESTRICT y)
{
    size_t i;
    for (i = 0; i < n; i++) {
        y[i] = sigmoid_value(gates[i] + hidden_gates[i]) * hidden[i];
    }
}
