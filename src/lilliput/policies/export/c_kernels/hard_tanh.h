#include "core.h"

KERNEL void hard_tanh(float *x, size_t n, float low, float high)
{
    size_t i;
    for (i = 0; i < n; i++) {
        x[i] = clamp(x[i], low, high);
    }
}
