#include "core.h"

/* x = clip(x, -bound, bound); a step of 0 means one number for all. */
KERNEL void limit(float *x, size_t n, const FLASH float *bound, size_t step)
{
    size_t i;
    for (i = 0; i < n; i++) {
        x[i] = clamp(x[i], -bound[i * step], bound[i * step]);
    }
}
