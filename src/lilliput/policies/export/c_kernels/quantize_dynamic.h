#include "sixteen_codes.h"

/* The smallest and largest of x and 0; a number that is none is passed over. */
KERNEL void find_range(const float *RESTRICT x, size_t n, float *low, float *high)
{
    size_t i;
#if !defined(SCALAR) || defined(SIXTEEN_CODES)
    const size_t whole = n - n % 16;
#endif
#if defined(SIXTEEN_CODES) /* by hand: compilers make masks of the comparisons */
    const __m512 rest = _mm512_maskz_loadu_ps((__mmask16)((1u << (n - whole)) - 1u), x + whole);
    __m512 lows = _mm512_min_ps(rest, _mm512_setzero_ps()), highs = _mm512_max_ps(rest, _mm512_setzero_ps());
    for (i = 0; i < whole; i += 16) {
        const __m512 some = _mm512_loadu_ps(x + i);
        lows = _mm512_min_ps(some, lows);
        highs = _mm512_max_ps(some, highs);
    }
    *low = _mm512_reduce_min_ps(lows);
    *high = _mm512_reduce_max_ps(highs);
#elif LILLIPUT_SOFT_FLOATS
    uint32_t least = 0, most = 0; /* the bits of a float order its size */
    for (i = 0; i < n; i++) {
        const uint32_t bits = float_bits(x[i]), size = bits & 0x7fffffffu;
        if (size <= 0x7f800000u && bits >> 31) {
            least = size > least ? size : least;
        } else if (size <= 0x7f800000u) {
            most = size > most ? size : most;
        }
    }
    *low = float_from_bits(least | (uint32_t)(least != 0) << 31);
    *high = float_from_bits(most);
#elif defined(SCALAR)
    *low = *high = 0.0f;
    for (i = 0; i < n; i++) {
        *low = x[i] < *low ? x[i] : *low;
        *high = x[i] > *high ? x[i] : *high;
    }
#else
    float lows[16] = {0.0f}, highs[16] = {0.0f};
    size_t k;
    for (i = 0; i < whole; i += 16) { /* sixteen ranges side by side, of which compilers make vectors */
        for (k = 0; k < 16; k++) {
            lows[k] = x[i + k] < lows[k] ? x[i + k] : lows[k];
            highs[k] = x[i + k] > highs[k] ? x[i + k] : highs[k];
        }
    }
    *low = *high = 0.0f;
    for (k = 0; k < 16; k++) {
        *low = lows[k] < *low ? lows[k] : *low;
        *high = highs[k] > *high ? highs[k] : *high;
    }
    for (i = whole; i < n; i++) {
        *low = x[i] < *low ? x[i] : *low;
        *high = x[i] > *high ? x[i] : *high;
    }
#endif
}

/* Codes over the observation's own range and 0, as ONNX DynamicQuantizeLinear; returns the scale. */
KERNEL float quantize_dynamic(const float *RESTRICT x, size_t n, int32_t top, uint8_t *RESTRICT codes,
                              int32_t *zero_point)
{
    const float to_integer = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer in the low bits */
    float low, high, scale;
    int32_t zero;
    size_t whole = 0, i;
    find_range(x, n, &low, &high);
    scale = (high - low) / (float)top;
    if (!(scale > 0.0f)) {
        scale = 1.0f;
    }
    zero = (int32_t)(float_bits(clamp(-low / scale, 0.0f, (float)top) + to_integer) - float_bits(to_integer));
#if defined(SIXTEEN_CODES)
    whole = n - n % 16;
    for (i = 0; i < whole; i += 16) {
        const __m512 scaled = _mm512_div_ps(_mm512_loadu_ps(x + i), _mm512_set1_ps(scale));
        _mm_storeu_si128((__m128i *)(void *)(codes + i), sixteen_codes(scaled, _mm512_set1_epi32(zero), top));
    }
#elif defined(EIGHT_CODES)
    whole = n - n % 8;
    for (i = 0; i < whole; i += 8) {
        const __m256 scaled = _mm256_div_ps(_mm256_loadu_ps(x + i), _mm256_set1_ps(scale));
        _mm_storel_epi64((__m128i *)(void *)(codes + i), eight_codes(scaled, _mm256_set1_epi32(zero), top));
    }
#elif defined(FOUR_CODES)
    whole = n - n % 4;
    for (i = 0; i < whole; i += 4) {
        four_codes(DIVIDE_SOME(LOAD_SOME(x + i), EACH(scale)), EACH_INTEGER(zero), top, codes + i);
    }
#endif
    for (i = whole; i < n; i++) {
        float scaled = clamp(x[i] / scale, (float)-zero, (float)(top - zero));
        codes[i] = (uint8_t)((int32_t)(float_bits(scaled + to_integer) - float_bits(to_integer)) + zero);
    }
    *zero_point = zero;
    return scale;
}
