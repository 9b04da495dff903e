#include "block_sums_f32.h"
#include "decode_floats.h"
#include "next_weight.h"
#include "stored.h"

#if defined(DECODES_VECTORS)
/* Adds the products of the 16 rows of a block and x, of as many columns as make whole vectors: returns how many. */
ALWAYS_INLINE size_t decoded_sums_f32(const unsigned bits, const FLASH void *RESTRICT values, const FLASH uint8_t *RESTRICT mask,
                                      size_t *first, size_t width, const float *RESTRICT x, float *RESTRICT sums)
{
    __m512 s[4], w[4];
    size_t i, k, next = *first;
    UNROLL for (k = 0; k < 4; k++) {
        s[k] = _mm512_setzero_ps();
    }
    for (i = 0; i + 4 <= width; i += 4) {
        if (bits > 8) {
            UNROLL for (k = 0; k < 4; k++) {
                w[k] = decode_16(bits, values, mask == NULL ? mask : mask + 2 * (i + k), &next);
            }
        } else if (bits == 8 && mask == NULL) {
            UNROLL for (k = 0; k < 4; k++, next += 16) {
                const __m128i codes = _mm_loadu_si128((const __m128i *)(const void *)((const int8_t *)values + next));
                w[k] = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(codes));
            }
        } else {
            const __m512i codes = decode_64(bits, values, mask == NULL ? mask : mask + 2 * i, &next);
            w[0] = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm512_castsi512_si128(codes)));
            w[1] = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm512_extracti32x4_epi32(codes, 1)));
            w[2] = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm512_extracti32x4_epi32(codes, 2)));
            w[3] = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm512_extracti32x4_epi32(codes, 3)));
        }
        UNROLL for (k = 0; k < 4; k++) {
            s[k] = _mm512_fmadd_ps(w[k], _mm512_set1_ps(x[i + k]), s[k]);
        }
    }
    _mm512_storeu_ps(sums, _mm512_add_ps(_mm512_add_ps(s[0], s[1]), _mm512_add_ps(s[2], s[3])));
    *first = next;
    return i;
}
#endif

/* y = weight x + bias for a weight that decode_floats decodes, a few columns of a block at a time; bias may be NULL. */
ALWAYS_INLINE void dense_decoded_f32(const unsigned bits, const FLASH void *RESTRICT values, const FLASH uint8_t *RESTRICT mask,
                                     REALS bias, size_t rows, size_t width, const float *RESTRICT x,
                                     float *RESTRICT y)
{
    size_t row, column;
#if LILLIPUT_SOFT_FLOATS
    /* One weight after the other: sums where they belong, no tile. */
    weight_place place = {0, 0, 0};
    size_t i, kept = 0;
    for (i = 0; i < rows; i++) {
        y[i] = 0.0f;
    }
    for (row = 0; row < rows; row += BLOCK_ROWS) {
        const size_t end = rows - row < BLOCK_ROWS ? rows : row + BLOCK_ROWS;
        for (column = 0; column < width; column++) {
            for (i = row; i < end; i++, kept++) {
                if (mask == NULL || (mask[kept / 8] >> kept % 8 & 1)) {
                    y[i] = multiply_add(next_weight(bits, values, &place), x[column], y[i]);
                }
            }
        }
    }
    for (i = 0; ANY(bias) && i < rows; i++) {
        y[i] += REAL(bias, i);
    }
#else
    size_t first = 0;
    for (row = 0; row < rows; row += BLOCK_ROWS) {
        const size_t height = rows - row < BLOCK_ROWS ? rows - row : BLOCK_ROWS;
        float sums[MOST_ROWS] = {0.0f};
        column = 0;
#if defined(DECODES_VECTORS)
        if (height == BLOCK_ROWS) {
            column = decoded_sums_f32(bits, values, mask, &first, width, x, sums);
            mask = mask == NULL ? mask : mask + 2 * column;
        }
#endif
        for (; column < width; column += TILE_COLUMNS) {
            const size_t columns = width - column < TILE_COLUMNS ? width - column : TILE_COLUMNS;
            const size_t n = columns * height;
            ALIGNED float tile[TILE];
            first += decode_floats(bits, values, mask, first, n, tile);
            mask = mask == NULL ? mask : mask + n / 8;
            if (MOST_ROWS == BLOCK_ROWS && height == BLOCK_ROWS) {
                block_sums_f32(BLOCK_ROWS, tile, BLOCK_ROWS, columns, x + column, sums);
            } else {
                last_sums_f32(tile, height, columns, x + column, sums);
            }
        }
        for (column = 0; column < height; column++) {
            y[row + column] = ANY(bias) ? sums[column] + REAL(bias, row + column) : sums[column];
        }
    }
#endif
}
