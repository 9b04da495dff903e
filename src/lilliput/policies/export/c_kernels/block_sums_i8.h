#include "block_sums_i8_neon.h"
#include "few_sums.h"
#include "prepared_codes.h"

/* Integer sums of products of codes. In a block of weights the rows of four columns stand side by side, four codes each;
   the last group may have fewer columns. */

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#include <immintrin.h>
#define BLOCK_SUMS_I8_VECTOR
#define BLOCK_SUMS_I8_DOTS /* four products an instruction */
KERNEL __m512i four_codes(const uint8_t *codes) /* in every lane */
{
    int32_t four;
    memcpy(&four, codes, 4);
    return _mm512_set1_epi32(four);
}

/* Adds the products of four groups of four columns; with `all`, those of weights and ones too. */
ALWAYS_INLINE void add_groups(const __m512i w[4], const uint8_t *codes, const int with_all, __m512i s[4], __m512i all[4])
{
    size_t k;
    UNROLL for (k = 0; k < 4; k++) {
        s[k] = _mm512_dpbusd_epi32(s[k], four_codes(codes + 4 * k), w[k]);
        all[k] = with_all ? _mm512_dpbusd_epi32(all[k], _mm512_set1_epi8(1), w[k]) : all[k];
    }
}

/* The same for the groups of a block of 16 rows that begins within a cache line, where a vector across two lines takes half as
   long again to come from the second-level cache. So lines are read as they lie: in each the last rows of one group stand
   before the first of the next. Returns how many columns. */
ALWAYS_INLINE size_t add_groups_across(const int8_t *weight, size_t width, const uint8_t *codes, const int with_all, __m512i s[4],
                                       __m512i all[4])
{
    const unsigned before = (unsigned)((uintptr_t)weight % 64 / 4);
    const __mmask16 low = (__mmask16)((1u << before) - 1u), high = (__mmask16)~low;
    const __m512i first = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i places = _mm512_add_epi32(first, _mm512_set1_epi32((int32_t)before)); /* modulo 16 */
    const __m512i zero = _mm512_setzero_si512(), ones = _mm512_set1_epi8(1);
    const int8_t *line = weight - 4 * before;
    const size_t groups = width / 4;
    __m512i last[4] = {zero, zero, zero, zero}, next[4], whole[4] = {zero, zero, zero, zero};
    __m512i w = _mm512_maskz_loadu_epi32(high, line), x = four_codes(codes);
    size_t g, k;
    next[0] = _mm512_dpbusd_epi32(zero, x, w);
    next[1] = next[2] = next[3] = zero;
    whole[0] = _mm512_dpbusd_epi32(zero, ones, w);
    for (g = 1; g + 4 <= groups; g += 4) {
        UNROLL for (k = 0; k < 4; k++) {
            w = _mm512_loadu_si512(line + 64 * (g + k));
            IN_REGISTER(w); /* read once */
            last[k] = _mm512_mask_dpbusd_epi32(last[k], low, x, w);
            x = four_codes(codes + 4 * (g + k));
            next[k] = _mm512_mask_dpbusd_epi32(next[k], high, x, w);
            whole[k] = with_all ? _mm512_dpbusd_epi32(whole[k], ones, w) : zero;
        }
    }
    for (; g < groups; g++) {
        w = _mm512_loadu_si512(line + 64 * g);
        last[1] = _mm512_mask_dpbusd_epi32(last[1], low, x, w);
        x = four_codes(codes + 4 * g);
        next[1] = _mm512_mask_dpbusd_epi32(next[1], high, x, w);
        whole[1] = _mm512_dpbusd_epi32(whole[1], ones, w);
    }
    w = _mm512_maskz_loadu_epi32(low, line + 64 * groups);
    last[0] = _mm512_dpbusd_epi32(last[0], x, w);
    whole[0] = _mm512_dpbusd_epi32(whole[0], ones, w);
    UNROLL for (k = 0; k < 4; k++) {
        s[k] = _mm512_permutexvar_epi32(places, _mm512_add_epi32(last[k], next[k]));
        all[k] = _mm512_permutexvar_epi32(places, whole[k]);
    }
    return 4 * groups;
}

/* Four unsigned by four signed products a lane, 16 rows at once; `rows` may be fewer than 16. */
ALWAYS_INLINE void block_sums_i8(const FLASH int8_t *RESTRICT weight, size_t rows, size_t width,
                                 const uint8_t *RESTRICT codes, int32_t zero_point, int32_t *RESTRICT sums)
{
    const __mmask16 mask = (__mmask16)((1u << rows) - 1u);
    const __m512i ones = _mm512_set1_epi8(1);
    const size_t stride = 4 * rows, within = (size_t)((uintptr_t)weight % 64);
    __m512i s[4], all[4], w[4];
    size_t i = 0, k;
    UNROLL for (k = 0; k < 4; k++) {
        s[k] = all[k] = _mm512_setzero_si512();
    }
    if (rows == BLOCK_ROWS && within != 0 && within % 4 == 0 && width >= 128) {
        i = zero_point == 0 ? add_groups_across(weight, width, codes, 0, s, all)
                            : add_groups_across(weight, width, codes, 1, s, all);
        weight += i * BLOCK_ROWS;
    }
    for (; i + 16 <= width; i += 16, weight += 4 * stride) {
        UNROLL for (k = 0; k < 4; k++) {
            w[k] = _mm512_maskz_loadu_epi32(mask, weight + k * stride);
        }
        if (zero_point == 0) {
            add_groups(w, codes + i, 0, s, all);
        } else {
            add_groups(w, codes + i, 1, s, all);
        }
    }
    for (; i + 4 <= width; i += 4, weight += stride) {
        w[0] = _mm512_maskz_loadu_epi32(mask, weight);
        s[0] = _mm512_dpbusd_epi32(s[0], four_codes(codes + i), w[0]);
        all[0] = _mm512_dpbusd_epi32(all[0], ones, w[0]);
    }
    if (i < width) { /* fewer than four columns: spread to four */
        const unsigned columns = (unsigned)(width - i);
        const unsigned second = columns > 1 ? codes[i + 1] : 0u, third = columns > 2 ? codes[i + 2] : 0u;
        const int32_t left = (int32_t)(codes[i] | second << 8 | third << 16);
        if (columns == 1) {
            w[0] = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, weight));
        } else if (columns == 2) {
            w[0] = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, weight));
        } else {
            const __mmask64 stored = _cvtu64_mask64(~(uint64_t)0 >> (64 - rows * columns));
            w[0] = sixteen_threes(_mm512_maskz_loadu_epi8(stored, weight));
        }
        s[1] = _mm512_dpbusd_epi32(s[1], _mm512_set1_epi32(left), w[0]);
        all[1] = _mm512_dpbusd_epi32(all[1], ones, w[0]);
    }
    s[0] = _mm512_add_epi32(_mm512_add_epi32(s[0], s[1]), _mm512_add_epi32(s[2], s[3]));
    if (zero_point != 0) {
        all[0] = _mm512_add_epi32(_mm512_add_epi32(all[0], all[1]), _mm512_add_epi32(all[2], all[3]));
        s[0] = _mm512_sub_epi32(s[0], _mm512_mullo_epi32(all[0], _mm512_set1_epi32(zero_point)));
    }
    _mm512_mask_storeu_epi32(sums, mask, s[0]);
}
#elif defined(__SSE2__)
#define BLOCK_SUMS_I8_VECTOR
/* As many columns at a time as codes can be prepared for. */
KERNEL void block_sums_i8(const int8_t *RESTRICT weight, size_t rows, size_t width, const uint8_t *RESTRICT codes,
                          int32_t zero_point, int32_t *RESTRICT sums)
{
    prepared_codes prepared;
    int32_t part[1][BLOCK_ROWS];
    size_t first, i;
    for (i = 0; i < rows; i++) {
        sums[i] = 0;
    }
    for (first = 0; first < width; first += PREPARED_COLUMNS) {
        const size_t n = width - first < PREPARED_COLUMNS ? width - first : PREPARED_COLUMNS;
        prepare_codes(codes + first, n, zero_point, &prepared);
        prepared_sums(weight + first * rows, rows, n, &prepared, zero_point, part);
        for (i = 0; i < rows; i++) {
            sums[i] += part[0][i];
        }
    }
}
#elif defined(__ARM_NEON) && defined(__aarch64__)
#define BLOCK_SUMS_I8_VECTOR
#define block_sums_i8 block_sums_i8_neon
#elif defined(__ARM_FEATURE_DSP) && !defined(__aarch64__)
#define BLOCK_SUMS_I8_VECTOR
#include <arm_acle.h>
/* Two products an instruction, on pairs of 16-bit numbers; four rows at a time. */
KERNEL void block_sums_i8(const FLASH int8_t *RESTRICT weight, size_t rows, size_t width, const uint8_t *RESTRICT codes,
                          int32_t zero_point, int32_t *RESTRICT sums)
{
    const uint32_t zero_pair = ((uint32_t)zero_point & 0xffffu) * 0x10001u;
    const size_t whole = width - width % 4, stride = 4 * rows;
    size_t row, i, k;
    for (row = 0; row + 4 <= rows; row += 4) {
        const FLASH int8_t *w = weight + 4 * row;
        int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        for (i = 0; i < whole; i += 4, w += stride) {
            uint32_t word, w0, w1, w2, w3;
            int16x2_t even, odd;
            memcpy(&word, codes + i, 4);
            memcpy(&w0, w, 4);
            memcpy(&w1, w + 4, 4);
            memcpy(&w2, w + 8, 4);
            memcpy(&w3, w + 12, 4);
            even = (int16x2_t)__uxtb16(word);
            odd = (int16x2_t)__uxtb16(word >> 8 | word << 24);
            if (zero_pair) {
                even = __ssub16(even, (int16x2_t)zero_pair);
                odd = __ssub16(odd, (int16x2_t)zero_pair);
            }
            s0 = __smlad(__sxtb16((int8x4_t)(w0 >> 8 | w0 << 24)), odd, __smlad(__sxtb16((int8x4_t)w0), even, s0));
            s1 = __smlad(__sxtb16((int8x4_t)(w1 >> 8 | w1 << 24)), odd, __smlad(__sxtb16((int8x4_t)w1), even, s1));
            s2 = __smlad(__sxtb16((int8x4_t)(w2 >> 8 | w2 << 24)), odd, __smlad(__sxtb16((int8x4_t)w2), even, s2));
            s3 = __smlad(__sxtb16((int8x4_t)(w3 >> 8 | w3 << 24)), odd, __smlad(__sxtb16((int8x4_t)w3), even, s3));
        }
        sums[row] = s0;
        sums[row + 1] = s1;
        sums[row + 2] = s2;
        sums[row + 3] = s3;
    }
    for (; row < rows; row++) {
        const FLASH int8_t *w = weight + 4 * row;
        sums[row] = 0;
        for (i = 0; i < whole; i += 4, w += stride) {
            for (k = 0; k < 4; k++) {
                sums[row] += w[k] * (codes[i + k] - zero_point);
            }
        }
    }
    weight += whole * rows;
    for (row = 0; row < rows; row++) {
        for (i = whole; i < width; i++) {
            sums[row] += *weight++ * (codes[i] - zero_point);
        }
    }
}
#endif

#if defined(FEW_SUMS) && !defined(BLOCK_SUMS_I8_VECTOR)
KERNEL void block_sums_i8(const FLASH int8_t *RESTRICT weight, size_t rows, size_t width, const uint8_t *RESTRICT codes,
                          int32_t zero_point, int32_t *RESTRICT sums)
{
    few_sums(8, weight, rows, width, codes, zero_point, sums);
}
#elif !defined(BLOCK_SUMS_I8_VECTOR)
/* Two rows at a time: as many sums as a small processor has registers for. */
KERNEL void block_sums_i8(const FLASH int8_t *RESTRICT weight, size_t rows, size_t width, const uint8_t *RESTRICT codes,
                          int32_t zero_point, int32_t *RESTRICT sums)
{
    const size_t whole = width - width % 4, stride = 4 * rows;
    size_t row, i;
    for (row = 0; row + 2 <= rows; row += 2) {
        const FLASH int8_t *w = weight + 4 * row;
        int32_t s0 = 0, s1 = 0;
        for (i = 0; i < whole; i += 4, w += stride) {
            const int32_t x0 = codes[i] - zero_point, x1 = codes[i + 1] - zero_point;
            const int32_t x2 = codes[i + 2] - zero_point, x3 = codes[i + 3] - zero_point;
            s0 += w[0] * x0 + w[1] * x1 + w[2] * x2 + w[3] * x3;
            s1 += w[4] * x0 + w[5] * x1 + w[6] * x2 + w[7] * x3;
        }
        sums[row] = s0;
        sums[row + 1] = s1;
    }
    if (row < rows) {
        const FLASH int8_t *w = weight + 4 * row;
        int32_t s = 0;
        for (i = 0; i < whole; i += 4, w += stride) {
            s += w[0] * (codes[i] - zero_point) + w[1] * (codes[i + 1] - zero_point);
            s += w[2] * (codes[i + 2] - zero_point) + w[3] * (codes[i + 3] - zero_point);
        }
        sums[row] = s;
    }
    weight += whole * rows;
    for (row = 0; row < rows; row++) {
        for (i = whole; i < width; i++) {
            sums[row] += *weight++ * (codes[i] - zero_point);
        }
    }
}
#endif
