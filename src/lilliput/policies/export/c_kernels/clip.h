#include "stored.h"

/* x = clip(x, low, high); a step of 0 means one number for all. */
KERNEL void clip(float *x, size_t n, REALS low, size_t low_step, REALS high, size_t high_step)
{
    size_t i;
    for (i = 0; i < n; i++) {
        x[i] = clamp(x[i], REAL(low, i * low_step), REAL(high, i * high_step));
    }
}
