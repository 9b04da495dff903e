#include "fixed_tanh.h"

/* x = 1 / (1 + exp(-x)) = (1 + tanh(x / 2)) / 2, in units of 2^-16: at most 3e-5 off. */
KERNEL void fixed_sigmoid_all(int32_t *x, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++) {
        x[i] = (65536 + fixed_tanh(x[i] >> 1)) >> 1;
    }
}
