#include "core.h"

/* y = (x - mean) * scale; a step of 0 means one number for all. */
KERNEL void standardize(const float *x, size_t n, const FLASH float *mean, size_t mean_step, const FLASH float *scale,
                        size_t scale_step, float *y)
{
    size_t i;
    for (i = 0; i < n; i++) {
        y[i] = (x[i] - mean[i * mean_step]) * scale[i * scale_step];
    }
}
