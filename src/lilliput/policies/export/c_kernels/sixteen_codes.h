#include "core.h"

#if defined(__AVX512BW__) && defined(__AVX512VL__)
#include <immintrin.h>
#define SIXTEEN_CODES
/* saturate(round(scaled) + zero), unsigned, from 0 to top (at most 255). By hand: compilers make masks of `clamp`, ten times
   the instructions. */
ALWAYS_INLINE __m128i sixteen_codes(__m512 scaled, __m512i zero, int32_t top)
{
    const __m512 low = _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_setzero_si512(), zero));
    const __m512 high = _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_set1_epi32(top), zero));
    const __m512 inside = _mm512_min_ps(_mm512_max_ps(scaled, low), high); /* NaN becomes low */
    return _mm512_cvtepi32_epi8(_mm512_add_epi32(_mm512_cvtps_epi32(inside), zero));
}
#elif defined(__AVX2__)
#include <immintrin.h>
#define EIGHT_CODES
/* saturate(round(scaled) + zero), unsigned, from 0 to top (at most 255), in the lower half. By hand: compilers make masks of
   `clamp`. */
ALWAYS_INLINE __m128i eight_codes(__m256 scaled, __m256i zero, int32_t top)
{
    const __m256 low = _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_setzero_si256(), zero));
    const __m256 high = _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_set1_epi32(top), zero));
    const __m256 inside = _mm256_min_ps(_mm256_max_ps(scaled, low), high); /* NaN becomes low */
    const __m256i code = _mm256_add_epi32(_mm256_cvtps_epi32(inside), zero);
    const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(code), _mm256_extracti128_si256(code, 1));
    return _mm_packus_epi16(words, words);
}
#endif
