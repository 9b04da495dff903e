#include "core.h"
#include "x86.h"

/* Products of 16-bit numbers, which are exact, on x86: WIDE_ROWS rows of four columns are one vector of weights. */
#if defined(__SSE2__)
#if defined(__AVX512BW__)
#define WIDE_ROWS 8
typedef __m512i wide_vector;
#define WIDE(name) _mm512_##name
#define WIDE_ZERO _mm512_setzero_si512()

ALWAYS_INLINE wide_vector wide_weights(const int8_t *weight)
{
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)weight));
}

ALWAYS_INLINE void store_pairs(wide_vector a, wide_vector b, int32_t *sums)
{
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    _mm512_storeu_si512(sums, _mm512_add_epi32(_mm512_permutex2var_epi32(a, even, b), _mm512_permutex2var_epi32(a, odd, b)));
}

/* 16 rows of three codes, side by side, become 16 of four. */
ALWAYS_INLINE __m512i sixteen_threes(__m512i threes)
{
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 8, 9, 10, 11, 11);
    const __m128i three = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
    return _mm512_shuffle_epi8(_mm512_permutexvar_epi32(lanes, threes), _mm512_broadcast_i32x4(three));
}
#elif defined(__AVX2__)
#define WIDE_ROWS 4
typedef __m256i wide_vector;
#define WIDE(name) _mm256_##name
#define WIDE_ZERO _mm256_setzero_si256()

ALWAYS_INLINE wide_vector wide_weights(const int8_t *weight)
{
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)weight));
}

ALWAYS_INLINE void store_pairs(wide_vector a, wide_vector b, int32_t *sums)
{
    _mm256_storeu_si256((__m256i *)(void *)sums, _mm256_permute4x64_epi64(_mm256_hadd_epi32(a, b), 0xd8));
}
#else
#define WIDE_ROWS 2
typedef __m128i wide_vector;
#define WIDE(name) _mm_##name
#define WIDE_ZERO _mm_setzero_si128()

ALWAYS_INLINE wide_vector wide_weights(const int8_t *weight)
{
    const __m128i eight = _mm_loadl_epi64((const __m128i *)(const void *)weight);
#if defined(__SSE4_1__)
    return _mm_cvtepi8_epi16(eight);
#else
    return _mm_srai_epi16(_mm_unpacklo_epi8(eight, eight), 8);
#endif
}

ALWAYS_INLINE void store_pairs(wide_vector a, wide_vector b, int32_t *sums)
{
    const __m128 low = _mm_castsi128_ps(a), high = _mm_castsi128_ps(b);
    const __m128i even = _mm_castps_si128(_mm_shuffle_ps(low, high, 0x88));
    const __m128i odd = _mm_castps_si128(_mm_shuffle_ps(low, high, 0xdd));
    _mm_storeu_si128((__m128i *)(void *)sums, _mm_add_epi32(even, odd));
}
#endif

/* The processors that add two products of 16 bits, or four of bytes, to a sum at once. */
#if defined(__AVX512VNNI__) && defined(__AVX512BW__)
#define WIDE_DOTS(kind) _mm512_##kind##_epi32
#elif defined(__AVXVNNI__) && !defined(__AVX512BW__)
#define WIDE_DOTS(kind) _mm256_##kind##_avx_epi32
#endif

/* Lets no compiler compute it again, or in another order. */
#if defined(__GNUC__)
#define IN_REGISTER(vector) __asm__ volatile("" : "+v"(vector))
#else
#define IN_REGISTER(vector) (void)0
#endif

ALWAYS_INLINE wide_vector four_wide_codes(const int16_t *codes) /* again and again */
{
#if WIDE_ROWS == 8
    long long four;
    memcpy(&four, codes, 8);
    return _mm512_set1_epi64(four);
#elif WIDE_ROWS == 4
    long long four;
    memcpy(&four, codes, 8);
    return _mm256_set1_epi64x(four);
#else
    const __m128i four = _mm_loadl_epi64((const __m128i *)(const void *)codes);
    return _mm_unpacklo_epi64(four, four);
#endif
}

ALWAYS_INLINE wide_vector add_wide_products(wide_vector sum, wide_vector weight, wide_vector codes)
{
#if defined(WIDE_DOTS)
    return WIDE_DOTS(dpwssd)(sum, weight, codes);
#else
    return WIDE(add_epi32)(sum, WIDE(madd_epi16)(weight, codes));
#endif
}

/* How many groups of four columns can be read as vectors of `bytes` bytes from row `row` of a block on: not beyond its end. */
ALWAYS_INLINE size_t whole_groups(size_t rows, size_t width, size_t row, size_t bytes)
{
    const size_t first = 4 * row + bytes, all = rows * width;
    size_t groups;
    if (rows == BLOCK_ROWS) {
        return width / 4;
    }
    groups = all < first ? 0 : (all - first) / (4 * rows) + 1;
    return groups < width / 4 ? groups : width / 4;
}

/* The group of columns from `column` on, 2 * WIDE_ROWS rows from `row` on, with zeros for what is not there. */
ALWAYS_INLINE void copy_group(const int8_t *weight, size_t rows, size_t width, size_t column, size_t row,
                              int8_t group[8 * WIDE_ROWS])
{
    const size_t columns = width - column < 4 ? width - column : 4;
    const size_t n = rows - row < 2 * WIDE_ROWS ? rows - row : 2 * WIDE_ROWS;
    size_t i, k;
    weight += column * rows + row * columns;
#if WIDE_ROWS == 8
    if (columns < 4) {
        const __mmask64 stored = _cvtu64_mask64(~(uint64_t)0 >> (64 - n * columns));
        const __m512i some = _mm512_maskz_loadu_epi8(stored, weight);
        __m512i all = some;
        if (columns == 1) {
            all = _mm512_cvtepu8_epi32(_mm512_castsi512_si128(some));
        } else if (columns == 2) {
            all = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(some));
        } else {
            all = sixteen_threes(some);
        }
        _mm512_storeu_si512(group, all);
        return;
    }
#elif WIDE_ROWS == 4
    if (n == 2 * WIDE_ROWS && columns < 4) {
        const __m128i first = columns == 1 ? _mm_loadl_epi64((const __m128i *)(const void *)weight)
                                           : _mm_loadu_si128((const __m128i *)(const void *)weight);
        __m256i eight = columns == 1 ? _mm256_cvtepu8_epi32(first) : _mm256_cvtepu16_epi32(first);
        if (columns == 3) { /* rows 4 to 7 from byte 12 on: the second vector ends where the eight rows do */
            const __m128i last = _mm_loadu_si128((const __m128i *)(const void *)(weight + 8));
            const __m128i three = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
            eight = _mm256_set_m128i(_mm_shuffle_epi8(_mm_srli_si128(last, 4), three), _mm_shuffle_epi8(first, three));
        }
        _mm256_storeu_si256((__m256i *)(void *)group, eight);
        return;
    }
#endif
    memset(group, 0, 8 * WIDE_ROWS);
    for (i = 0; i < n; i++, weight += columns) {
        for (k = 0; k < columns; k++) {
            group[4 * i + k] = weight[k];
        }
    }
}
#endif
