#include "core.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

/* The value of an IEEE 754 half-precision number; every one is exact in float. */
KERNEL float half_value(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t magnitude = half & 0x7fffu;
    float value;
    if (magnitude >= 0x7c00u) { /* infinity and NaN */
        return float_from_bits(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
    }
#if LILLIPUT_SOFT_FLOATS
    if (magnitude >= 0x400u) {
        return float_from_bits(sign | ((magnitude << 13) + 0x38000000u));
    }
#endif
    /* Exponent 112 too small, put right by a multiplication that also normalizes subnormals. */
    value = float_from_bits(magnitude << 13) * 5.192296858534828e+33f; /* 2^112 */
    return float_from_bits(float_bits(value) | sign);
}

/* Decodes n half-precision numbers. */
KERNEL void half_to_float(const FLASH uint16_t *RESTRICT halves, size_t n, float *RESTRICT values)
{
    size_t i = 0;
#if defined(__AVX512F__)
    for (; i + 16 <= n; i += 16) {
        _mm512_storeu_ps(values + i, _mm512_maskz_cvtph_ps((__mmask16)0xffff, _mm256_loadu_si256((const __m256i *)(const void *)(halves + i))));
    }
#endif
    for (; i < n; i++) {
        values[i] = half_value(halves[i]);
    }
}
