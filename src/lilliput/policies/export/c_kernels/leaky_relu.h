#include "core.h"

KERNEL void leaky_relu(float *x, size_t n, float slope)
{
    size_t i;
    for (i = 0; i < n; i++) {
        x[i] = x[i] > 0.0f ? x[i] : slope * x[i];
    }
}
