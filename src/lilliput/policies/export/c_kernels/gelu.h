#include "core.h"

/* x = x * (1 + erf(x / sqrt 2)) / 2 */
KERNEL void gelu(float *x, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++) {
        x[i] = 0.5f * x[i] * (1.0f + erff(x[i] * 0.70710678f));
    }
}
