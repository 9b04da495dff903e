#include "core.h"

/* y = those of the first n numbers of x whose bit is set, the lowest bit first */
KERNEL void select_inputs_mask(const FLASH uint8_t *RESTRICT mask, size_t n, const float *RESTRICT x, float *RESTRICT y)
{
    size_t i;
    for (i = 0; i < n; i++) {
        if (mask[i / 8] >> (i % 8) & 1) {
            *y++ = x[i];
        }
    }
}
