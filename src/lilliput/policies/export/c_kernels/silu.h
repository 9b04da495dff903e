#include "sigmoid_value.h"

/* x = x / (1 + exp(-x)) */
KERNEL void silu(float *x, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++) {
        x[i] = x[i] * sigmoid_value(x[i]);
    }
}
