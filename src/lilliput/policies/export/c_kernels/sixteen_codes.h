#include "some_floats.h"

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
#elif defined(LANES) /* of four floats */
#define FOUR_CODES
/* The four codes of the same. */
#if defined(__SSE2__)
typedef __m128i some_integers;
#define LOAD_INTEGERS(from) _mm_loadu_si128((const __m128i *)(const void *)(from))
#define EACH_INTEGER(value) _mm_set1_epi32(value)
ALWAYS_INLINE void four_codes(__m128 scaled, __m128i zero, int32_t top, uint8_t *codes)
{
    const __m128 low = _mm_cvtepi32_ps(_mm_sub_epi32(_mm_setzero_si128(), zero));
    const __m128 high = _mm_cvtepi32_ps(_mm_sub_epi32(_mm_set1_epi32(top), zero));
    const __m128 inside = _mm_min_ps(_mm_max_ps(scaled, low), high); /* NaN becomes low */
    const __m128i code = _mm_add_epi32(_mm_cvtps_epi32(inside), zero);
    const __m128i words = _mm_packs_epi32(code, code);
    const int32_t four = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
    memcpy(codes, &four, 4);
}
#else
typedef int32x4_t some_integers;
#define LOAD_INTEGERS(from) vld1q_s32(from)
#define EACH_INTEGER(value) vdupq_n_s32(value)
ALWAYS_INLINE void four_codes(float32x4_t scaled, int32x4_t zero, int32_t top, uint8_t *codes)
{
    const float32x4_t low = vcvtq_f32_s32(vnegq_s32(zero)), high = vcvtq_f32_s32(vsubq_s32(vdupq_n_s32(top), zero));
    const float32x4_t inside = vminnmq_f32(vmaxnmq_f32(scaled, low), high); /* NaN becomes low */
    const uint16x4_t words = vmovn_u32(vreinterpretq_u32_s32(vaddq_s32(vcvtnq_s32_f32(inside), zero)));
    const uint32_t four = vget_lane_u32(vreinterpret_u32_u8(vmovn_u16(vcombine_u16(words, words))), 0);
    memcpy(codes, &four, 4);
}
#endif
#endif
