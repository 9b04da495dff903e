#include "sixteen_codes.h"
#include "stored.h"

#if LILLIPUT_SOFT_FLOATS
/* The integer nearest to x, ties to even, if it is below 2^23 in size, else one farther out; NaN becomes `nan`. */
KERNEL_ALONE int32_t nearest_integer(float x, int32_t nan)
{
    const uint32_t bits = float_bits(x), size = bits & 0x7fffffffu;
    const int below = 150 - (int)(size >> 23); /* bits of the mantissa that stand for fractions */
    uint32_t whole = 0;
    if (size > 0x7f800000u) {
        return nan;
    }
    if (below <= 0) {
        whole = (uint32_t)1 << 23;
    } else if (below <= 24) {
        const uint32_t mantissa = (size & 0x7fffffu) | 0x800000u, half = (uint32_t)1 << (below - 1);
        whole = mantissa >> below;
        whole = (mantissa + half - 1 + (whole & 1)) >> below;
    }
    return bits >> 31 ? -(int32_t)whole : (int32_t)whole;
}
#endif

/* codes = saturate(round(x * inverse_scale) + zero_point), unsigned, from 0 to top (at most 255).
   Ties go to even. A step of 0 means one number for all. Zero points up to 4,000,000 in size. */
KERNEL void quantize_static(const float *RESTRICT x, size_t n, REALS inverse_scale, size_t scale_step,
                            ZEROS zero_point, size_t zero_point_step, int32_t top,
                            uint8_t *RESTRICT codes)
{
#if !LILLIPUT_SOFT_FLOATS
    const float to_integer = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer in the low bits */
#endif
    size_t whole = 0, i;
#if defined(SIXTEEN_CODES)
    __m512 scale = _mm512_set1_ps(inverse_scale[0]);
    __m512i zero = _mm512_set1_epi32(zero_point[0]);
    whole = n - n % 16;
    for (i = 0; i < whole; i += 16) {
        scale = scale_step ? _mm512_loadu_ps(inverse_scale + i) : scale;
        zero = zero_point_step ? _mm512_loadu_si512(zero_point + i) : zero;
        _mm_storeu_si128((__m128i *)(void *)(codes + i), sixteen_codes(_mm512_mul_ps(_mm512_loadu_ps(x + i), scale), zero, top));
    }
    if (i < n) {
        const __mmask16 rest = (__mmask16)((1u << (n - whole)) - 1u);
        scale = scale_step ? _mm512_maskz_loadu_ps(rest, inverse_scale + i) : scale;
        zero = zero_point_step ? _mm512_maskz_loadu_epi32(rest, zero_point + i) : zero;
        _mm_mask_storeu_epi8(codes + i, rest, sixteen_codes(_mm512_mul_ps(_mm512_maskz_loadu_ps(rest, x + i), scale), zero, top));
        whole = n;
    }
#elif defined(EIGHT_CODES)
    __m256 scale = _mm256_set1_ps(inverse_scale[0]);
    __m256i zero = _mm256_set1_epi32(zero_point[0]);
    whole = n - n % 8;
    for (i = 0; i < whole; i += 8) {
        scale = scale_step ? _mm256_loadu_ps(inverse_scale + i) : scale;
        zero = zero_point_step ? _mm256_loadu_si256((const __m256i *)(const void *)(zero_point + i)) : zero;
        _mm_storel_epi64((__m128i *)(void *)(codes + i), eight_codes(_mm256_mul_ps(_mm256_loadu_ps(x + i), scale), zero, top));
    }
#elif defined(FOUR_CODES)
    some_floats scale = EACH(inverse_scale[0]);
    some_integers zero = EACH_INTEGER(zero_point[0]);
    whole = n - n % 4;
    for (i = 0; i < whole; i += 4) {
        scale = scale_step ? LOAD_SOME(inverse_scale + i) : scale;
        zero = zero_point_step ? LOAD_INTEGERS(zero_point + i) : zero;
        four_codes(MULTIPLY_SOME(LOAD_SOME(x + i), scale), zero, top, codes + i);
    }
#endif
    for (i = whole; i < n; i++) {
        int32_t one = ZERO(zero_point, i * zero_point_step);
#if LILLIPUT_SOFT_FLOATS
        int32_t code = nearest_integer(x[i] * REAL(inverse_scale, i * scale_step), -one) + one;
        codes[i] = (uint8_t)(code < 0 ? 0 : code > top ? top : code);
#else
        float scaled = clamp(x[i] * REAL(inverse_scale, i * scale_step), (float)-one, (float)(top - one));
        int32_t rounded = (int32_t)(float_bits(scaled + to_integer) - float_bits(to_integer));
        codes[i] = (uint8_t)(rounded + one);
#endif
    }
}
