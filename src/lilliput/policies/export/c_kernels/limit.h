#include "stored.h"

/* x = clip(x, -bound, bound); a step of 0 means one number for all. */
KERNEL void limit(float *x, size_t n, REALS bound, size_t step)
{
    size_t i;
    for (i = 0; i < n; i++) {
        x[i] = clamp(x[i], -REAL(bound, i * step), REAL(bound, i * step));
    }
}
