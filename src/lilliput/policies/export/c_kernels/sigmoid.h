#include "sigmoid_value.h"

/* x = 1 / (1 + exp(-x)), at most 3e-7 off. */
KERNEL void sigmoid(float *x, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++) {
        x[i] = sigmoid_value(x[i]);
    }
}
