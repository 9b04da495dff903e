#include "exponential.h"

/* x = tanh(x), at most 3e-7 off. */
KERNEL void tanh_all(float *x, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++) {
        /* Beyond 9.02 the nearest float is 1. */
        float twice = 2.0f * clamp_nan(x[i], -9.02f, 9.02f);
        float e = expm1_in_range(twice);
        x[i] = e / (e + 2.0f);
    }
}
