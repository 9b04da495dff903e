#include "core.h"

/* x = clip(x, low, high); a step of 0 means one number for all. */
KERNEL void clip(float *x, size_t n, const FLASH float *low, size_t low_step, const FLASH float *high, size_t high_step)
{
    size_t i;
    for (i = 0; i < n; i++) {
        x[i] = clamp(x[i], low[i * low_step], high[i * high_step]);
    }
}
