#include "stored.h"

/* x = x * scale + offset; a step of 0 means one number for all. */
KERNEL void rescale(float *x, size_t n, REALS scale, size_t scale_step, REALS offset, size_t offset_step)
{
    size_t i;
    for (i = 0; i < n; i++) {
        x[i] = x[i] * REAL(scale, i * scale_step) + REAL(offset, i * offset_step);
    }
}
