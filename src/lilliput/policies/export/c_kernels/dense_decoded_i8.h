#include "block_sums_i8.h"
#include "decode_codes.h"
#include "next_weight.h"
#include "packed_sums.h"
#include "real_sums.h"

#if defined(DECODES_VECTORS) && defined(__AVX512VNNI__)
/* block_sums_i8 of as many columns as make whole vectors: returns how many. */
ALWAYS_INLINE size_t decoded_sums_i8(const unsigned bits, const FLASH void *RESTRICT values, const FLASH uint8_t *RESTRICT mask,
                                     size_t *first, size_t width, const uint8_t *RESTRICT codes, int32_t zero_point,
                                     int32_t *RESTRICT sums)
{
    const __m512i ones = _mm512_set1_epi8(1);
    __m512i s[2], all[2];
    size_t i = 0, k, next = *first;
    s[0] = s[1] = all[0] = all[1] = _mm512_setzero_si512();
    for (; i + 8 <= width; i += 8) {
        UNROLL for (k = 0; k < 2; k++) {
            const __m512i w = decode_64(bits, values, mask == NULL ? mask : mask + 2 * i + 8 * k, &next);
            s[k] = _mm512_dpbusd_epi32(s[k], four_codes(codes + i + 4 * k), w);
            if (zero_point != 0) {
                all[k] = _mm512_dpbusd_epi32(all[k], ones, w);
            }
        }
    }
    if (i + 4 <= width) {
        const __m512i w = decode_64(bits, values, mask == NULL ? mask : mask + 2 * i, &next);
        s[0] = _mm512_dpbusd_epi32(s[0], four_codes(codes + i), w);
        all[0] = _mm512_dpbusd_epi32(all[0], ones, w);
        i += 4;
    }
    all[0] = _mm512_mullo_epi32(_mm512_add_epi32(all[0], all[1]), _mm512_set1_epi32(zero_point));
    _mm512_storeu_si512(sums, _mm512_sub_epi32(_mm512_add_epi32(s[0], s[1]), all[0]));
    *first = next;
    return i;
}
#endif

/* dense_i8 for a weight that decode_codes decodes, a few columns of a block at a time. */
ALWAYS_INLINE void dense_decoded_i8(const unsigned bits, const FLASH void *RESTRICT values, const FLASH uint8_t *RESTRICT mask,
                                    size_t rows, size_t width, const uint8_t *RESTRICT codes, int32_t zero_point,
                                    REALS scale, size_t scale_step, float input_scale,
                                    REALS bias, float *RESTRICT y)
{
    size_t row, column, i;
#if LILLIPUT_SOFT_FLOATS
    /* One weight after the other: no tile. */
    weight_place place = {0, 0, 0};
    size_t kept = 0;
#else
    size_t first = 0;
#endif
#if defined(SCALAR)
    if (mask == NULL) {
        const FLASH uint8_t *stream = (const FLASH uint8_t *)values;
        const size_t step = BLOCK_ROWS / 8 * width * bits;
        size_t left = bytes_of_fields(rows * width, bits);
        for (row = 0; row < rows; row += BLOCK_ROWS, stream += step, left -= step) {
            const size_t height = rows - row < BLOCK_ROWS ? rows - row : BLOCK_ROWS;
            int32_t sums[MOST_ROWS];
            packed_sums(stream, left, bits, height, width, codes, zero_point, sums);
            real_sums(sums, height, REALS_FROM(scale, row * scale_step), scale_step, input_scale, REALS_FROM_ANY(bias, row), y + row);
        }
        return;
    }
#endif
#if LILLIPUT_SOFT_FLOATS
    for (row = 0; row < rows; row += BLOCK_ROWS) {
        const size_t height = rows - row < BLOCK_ROWS ? rows - row : BLOCK_ROWS;
        int32_t sums[MOST_ROWS] = {0};
        for (column = 0; column < width; column += 4) {
            const size_t columns = width - column < 4 ? width - column : 4;
            size_t k;
            for (i = 0; i < height; i++) {
                for (k = 0; k < columns; k++, kept++) {
                    if (mask[kept / 8] >> kept % 8 & 1) {
                        sums[i] += next_code(bits, values, &place) * (codes[column + k] - zero_point);
                    }
                }
            }
        }
        real_sums(sums, height, REALS_FROM(scale, row * scale_step), scale_step, input_scale, REALS_FROM_ANY(bias, row), y + row);
    }
#else
    for (row = 0; row < rows; row += BLOCK_ROWS) {
        const size_t height = rows - row < BLOCK_ROWS ? rows - row : BLOCK_ROWS;
        int32_t sums[MOST_ROWS] = {0}, part[MOST_ROWS];
        column = 0;
#if defined(DECODES_VECTORS) && defined(__AVX512VNNI__)
        if (height == BLOCK_ROWS) {
            column = decoded_sums_i8(bits, values, mask, &first, width, codes, zero_point, sums);
            mask = mask == NULL ? mask : mask + 2 * column;
        }
#endif
        for (; column < width; column += TILE_COLUMNS) {
            const size_t columns = width - column < TILE_COLUMNS ? width - column : TILE_COLUMNS;
            const size_t n = columns * height;
            ALIGNED int8_t tile[TILE];
            first += decode_codes(bits, values, mask, first, n, tile);
            mask = mask == NULL ? mask : mask + n / 8;
            block_sums_i8(tile, height, columns, codes + column, zero_point, part);
            for (i = 0; i < height; i++) {
                sums[i] += part[i];
            }
        }
        real_sums(sums, height, REALS_FROM(scale, row * scale_step), scale_step, input_scale, REALS_FROM_ANY(bias, row), y + row);
    }
#endif
}
