#include "core.h"

/* The real numbers that `n` sums of products of codes stand for; a scale step of 0 means one scale for all rows. */
ALWAYS_INLINE void real_sums(const int32_t *RESTRICT sums, size_t n, const FLASH float *RESTRICT scale, size_t scale_step,
                             float input_scale, const FLASH float *RESTRICT bias, float *RESTRICT y)
{
    size_t row;
    if (scale_step == 0) {
        const float factor = scale[0] * input_scale;
        for (row = 0; row < n; row++) {
            y[row] = (float)sums[row] * factor;
        }
    } else {
        for (row = 0; row < n; row++) {
            y[row] = (float)sums[row] * (scale[row] * input_scale);
        }
    }
    if (bias) {
        for (row = 0; row < n; row++) {
            y[row] += bias[row];
        }
    }
}
