#include "wide_products.h"

#if defined(__SSSE3__)
/* Products of bytes, whose sums of pairs saturate at 16 bits: so a code is split into its halves of four bits, of which eight
   products of pairs fit; where four products are added to a sum at once, it stays whole. SPLIT_BYTES: of weights a vector. */
#define SPLIT_BYTES (8 * WIDE_ROWS)

ALWAYS_INLINE wide_vector split_weights(const int8_t *weight)
{
#if WIDE_ROWS == 8
    return _mm512_loadu_si512(weight);
#elif WIDE_ROWS == 4
    return _mm256_loadu_si256((const __m256i *)(const void *)weight);
#else
    return _mm_loadu_si128((const __m128i *)(const void *)weight);
#endif
}

ALWAYS_INLINE wide_vector four_split_codes(const uint8_t *codes) /* again and again */
{
    int32_t four;
    memcpy(&four, codes, 4);
    return WIDE(set1_epi32)(four);
}

/* n bytes become 16 * high + low. */
KERNEL void split_codes(const uint8_t *RESTRICT codes, size_t n, uint8_t *RESTRICT high, uint8_t *RESTRICT low)
{
    size_t i;
    for (i = 0; i < n; i++) {
#if defined(WIDE_DOTS)
        high[i] = codes[i];
#else
        high[i] = (uint8_t)(codes[i] >> 4);
        low[i] = codes[i] & 15;
#endif
    }
#if defined(WIDE_DOTS)
    (void)low;
#endif
}

/* Adds the products of N groups of four columns (a constant: at most 8), `stride` bytes apart, of V vectors of rows. */
ALWAYS_INLINE void add_split_products(const size_t V, const size_t N, const int8_t *RESTRICT weight, size_t stride,
                                      const uint8_t *RESTRICT high, const uint8_t *RESTRICT low,
                                      wide_vector *RESTRICT highs, wide_vector *RESTRICT lows)
{
    size_t i, k;
#if defined(WIDE_DOTS)
    (void)low;
    UNROLL for (i = 0; i < N; i++, weight += stride) {
        const wide_vector x = four_split_codes(high + 4 * i);
        UNROLL for (k = 0; k < V; k++) {
            wide_vector *const sum = i % 2 ? &lows[k] : &highs[k]; /* two, as one would wait for itself */
            *sum = WIDE_DOTS(dpbusd)(*sum, x, split_weights(weight + SPLIT_BYTES * k));
        }
    }
#else
    const wide_vector ones = WIDE(set1_epi16)(1);
    wide_vector h[4], l[4]; /* sums of pairs */
    UNROLL for (i = 0; i < N; i++, weight += stride) {
        const wide_vector x = four_split_codes(high + 4 * i), y = four_split_codes(low + 4 * i);
        UNROLL for (k = 0; k < V; k++) {
            wide_vector w = split_weights(weight + SPLIT_BYTES * k);
            IN_REGISTER(w); /* read once */
            h[k] = i == 0 ? WIDE(maddubs_epi16)(x, w) : WIDE(add_epi16)(h[k], WIDE(maddubs_epi16)(x, w));
            l[k] = i == 0 ? WIDE(maddubs_epi16)(y, w) : WIDE(add_epi16)(l[k], WIDE(maddubs_epi16)(y, w));
            IN_REGISTER(h[k]); /* compilers add in another order, for which there are too few registers */
            IN_REGISTER(l[k]);
        }
    }
    UNROLL for (k = 0; k < V; k++) {
        highs[k] = WIDE(add_epi32)(highs[k], WIDE(madd_epi16)(h[k], ones));
        lows[k] = WIDE(add_epi32)(lows[k], WIDE(madd_epi16)(l[k], ones));
    }
#endif
}

/* The sums of V (a constant) vectors of a block's rows, from `row` on, with codes that end in zeros up to a multiple of four. */
ALWAYS_INLINE void split_rows(const size_t V, const int8_t *RESTRICT block, size_t rows, size_t width, size_t row,
                              const uint8_t *RESTRICT high, const uint8_t *RESTRICT low, int32_t *RESTRICT sums)
{
    const size_t whole = 4 * whole_groups(rows, width, row, SPLIT_BYTES * V), stride = 4 * rows;
    const int8_t *weight = block + 4 * row;
    wide_vector highs[4], lows[4];
    size_t i, k;
    UNROLL for (k = 0; k < V; k++) {
        highs[k] = lows[k] = WIDE_ZERO;
    }
    for (i = 0; i + 32 <= whole; i += 32, weight += 8 * stride) {
        add_split_products(V, 8, weight, stride, high + i, low + i, highs, lows);
    }
    for (; i + 16 <= whole; i += 16, weight += 4 * stride) {
        add_split_products(V, 4, weight, stride, high + i, low + i, highs, lows);
    }
    for (; i < whole; i += 4, weight += stride) {
        add_split_products(V, 1, weight, stride, high + i, low + i, highs, lows);
    }
    for (; i < width; i += 4) {
        int8_t group[4 * SPLIT_BYTES];
        UNROLL for (k = 0; k < V; k++) {
            copy_group(block, rows, width, i, row + 2 * WIDE_ROWS * k, group + SPLIT_BYTES * k);
        }
        add_split_products(V, 1, group, stride, high + i, low + i, highs, lows);
    }
    UNROLL for (k = 0; k < V; k++) {
#if defined(WIDE_DOTS)
        const wide_vector all = WIDE(add_epi32)(highs[k], lows[k]);
#else
        const wide_vector all = WIDE(add_epi32)(WIDE(slli_epi32)(highs[k], 4), lows[k]);
#endif
        memcpy(sums + 2 * WIDE_ROWS * k, &all, sizeof all);
    }
}

KERNEL void split_block_sums(const int8_t *RESTRICT weight, size_t rows, size_t width, const uint8_t *RESTRICT high,
                             const uint8_t *RESTRICT low, int32_t *RESTRICT sums)
{
    size_t row;
    if (rows == BLOCK_ROWS) {
        split_rows(BLOCK_ROWS / (2 * WIDE_ROWS), weight, BLOCK_ROWS, width, 0, high, low, sums);
        return;
    }
    for (row = 0; row < rows; row += 2 * WIDE_ROWS) {
        split_rows(1, weight, rows, width, row, high, low, sums + row);
    }
}
#endif
