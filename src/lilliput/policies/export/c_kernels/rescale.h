#include "core.h"

/* x = x * scale + offset; a step of 0 means one number for all. */
KERNEL void rescale(float *x, size_t n, const FLASH float *scale, size_t scale_step, const FLASH float *offset, size_t offset_step)
{
    size_t i;
    for (i = 0; i < n; i++) {
        x[i] = x[i] * scale[i * scale_step] + offset[i * offset_step];
    }
}
