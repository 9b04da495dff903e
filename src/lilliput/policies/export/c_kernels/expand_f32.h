#include "count_bits.h"
#include "decode_vectors.h"

#if defined(__AVX2__) && defined(__BMI2__) && defined(__x86_64__)
#include <immintrin.h>
#endif

/* n weights whose zeros were left out: the next value wherever the mask, lowest bit first, has a one. Returns how many
   values there were. Bits of the last byte beyond n are zero. */
KERNEL size_t expand_f32(const FLASH float *RESTRICT values, const FLASH uint8_t *RESTRICT mask, size_t n, float *RESTRICT weights)
{
    size_t i = 0, next = 0;
#if defined(DECODES_VECTORS)
    for (; i + 16 <= n; i += 16) {
        _mm512_storeu_ps(weights + i, decode_16(32, values, mask + i / 8, &next));
    }
#elif defined(__AVX2__) && defined(__BMI2__) && defined(__x86_64__)
    const size_t total = count_bits(mask, n);
    for (; i + 8 <= n && next + 8 <= total; i += 8) { /* a byte of the mask gives the places of up to eight values */
        const uint64_t places = _pdep_u64(mask[i / 8], 0x0101010101010101u) * 0xffu;
        const __m128i from = _mm_cvtsi64_si128((long long)_pdep_u64(0x0706050403020100u, places));
        const __m256 eight = _mm256_permutevar8x32_ps(_mm256_loadu_ps(values + next), _mm256_cvtepu8_epi32(from));
        const __m256i kept = _mm256_cvtepi8_epi32(_mm_cvtsi64_si128((long long)places));
        _mm256_storeu_ps(weights + i, _mm256_and_ps(eight, _mm256_castsi256_ps(kept)));
        next += count_ones(mask[i / 8]);
    }
#endif
    memset(weights + i, 0, (n - i) * sizeof *weights);
    for (; i < n; i += 8) {
        unsigned byte = mask[i / 8];
        float *to = weights + i;
        for (; byte; byte >>= 1, to++) {
            if (byte & 1u) {
                *to = values[next++];
            }
        }
    }
    return next;
}
