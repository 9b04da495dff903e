#include "core.h"

/* codes = saturate(round(x * inverse_scale) + zero_point), unsigned, from 0 to top.
   Ties go to even. A step of 0 means one number for all. Zero points up to 4,000,000 in size. */
KERNEL void quantize_static(const float *RESTRICT x, size_t n, const float *RESTRICT inverse_scale, size_t scale_step,
                            const int32_t *RESTRICT zero_point, size_t zero_point_step, int32_t top,
                            uint8_t *RESTRICT codes)
{
    const float to_integer = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer in the low bits */
    size_t i;
    for (i = 0; i < n; i++) {
        int32_t zero = zero_point[i * zero_point_step];
        float scaled = clamp(x[i] * inverse_scale[i * scale_step], (float)-zero, (float)(top - zero));
        int32_t rounded = (int32_t)(float_bits(scaled + to_integer) - float_bits(to_integer));
        codes[i] = (uint8_t)(rounded + zero);
    }
}
