#include "core.h"

/* x = x, from low to high; a step of 0 means one number for all. */
KERNEL void fixed_clip(int32_t *x, size_t n, const FLASH int32_t *RESTRICT low, size_t low_step,
                       const FLASH int32_t *RESTRICT high, size_t high_step)
{
    size_t i;
    for (i = 0; i < n; i++) {
        const int32_t least = low[i * low_step], most = high[i * high_step];
        x[i] = x[i] < least ? least : x[i] > most ? most : x[i];
    }
}
