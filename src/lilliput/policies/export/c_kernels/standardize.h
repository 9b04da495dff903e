#include "stored.h"

/* y = (x - mean) * scale; a step of 0 means one number for all. */
KERNEL void standardize(const float *x, size_t n, REALS mean, size_t mean_step, REALS scale,
                        size_t scale_step, float *y)
{
    size_t i;
    for (i = 0; i < n; i++) {
        y[i] = (x[i] - REAL(mean, i * mean_step)) * REAL(scale, i * scale_step);
    }
}
