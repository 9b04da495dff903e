#include "stored.h"

/* quantize_static for zero points of any size: ranges far from zero. */
KERNEL void quantize_far(const float *RESTRICT x, size_t n, REALS inverse_scale, size_t scale_step,
                         ZEROS zero_point, size_t zero_point_step, int32_t top,
                         uint8_t *RESTRICT codes)
{
    size_t i;
    for (i = 0; i < n; i++) {
        float scaled = clamp(x[i] * REAL(inverse_scale, i * scale_step), -4e9f, 4e9f);
        int64_t code = (int64_t)rintf(scaled) + ZERO(zero_point, i * zero_point_step);
        codes[i] = (uint8_t)(code < 0 ? 0 : code > top ? top : code);
    }
}
