#include "stored.h"

/* y = y * scale + bias; bias may be NULL; a step of 0 means one scale for all. */
KERNEL void scale_rows(float *y, size_t n, REALS scale, size_t scale_step, REALS bias)
{
    size_t i;
    for (i = 0; i < n; i++) {
        y[i] *= REAL(scale, i * scale_step);
    }
    if (ANY(bias)) {
        for (i = 0; i < n; i++) {
            y[i] += REAL(bias, i);
        }
    }
}
