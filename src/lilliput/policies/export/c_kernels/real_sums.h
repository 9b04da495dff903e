#include "stored.h"

/* The real numbers that `n` sums of products of codes stand for; a scale step of 0 means one scale for all rows. */
ALWAYS_INLINE void real_sums(const int32_t *RESTRICT sums, size_t n, REALS scale, size_t scale_step,
                             float input_scale, REALS bias, float *RESTRICT y)
{
    size_t row;
    if (scale_step == 0) {
        const float factor = REAL(scale, 0) * input_scale;
        for (row = 0; row < n; row++) {
            y[row] = (float)sums[row] * factor;
        }
    } else {
        for (row = 0; row < n; row++) {
            y[row] = (float)sums[row] * (REAL(scale, row) * input_scale);
        }
    }
    if (ANY(bias)) {
        for (row = 0; row < n; row++) {
            y[row] += REAL(bias, row);
        }
    }
}
