#include "core.h"

/* y = y * scale + bias; bias may be NULL; a step of 0 means one scale for all. */
KERNEL void scale_rows(float *y, size_t n, const FLASH float *scale, size_t scale_step, const FLASH float *bias)
{
    size_t i;
    for (i = 0; i < n; i++) {
        y[i] *= scale[i * scale_step];
    }
    if (bias) {
        for (i = 0; i < n; i++) {
            y[i] += bias[i];
        }
    }
}
