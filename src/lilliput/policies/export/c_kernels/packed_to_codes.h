#include "packed_sums.h"
#include "rows_to_codes.h"

/* A packed layer's sums, `up` times, as the next layer's codes: see rows_to_codes. */
KERNEL void packed_to_codes(const FLASH uint8_t *RESTRICT weight, unsigned bits, size_t rows, size_t width,
                            const uint8_t *RESTRICT codes, int32_t up, const FLASH requantize_row *RESTRICT by,
                            int shift, int32_t low, int32_t high, uint8_t *RESTRICT next)
{
    const size_t step = BLOCK_ROWS / 8 * width * bits;
    size_t left = bytes_of_fields(rows * width, bits);
    int32_t sums[MOST_ROWS];
    size_t row, i;
    for (row = 0; row < rows; row += BLOCK_ROWS, weight += step, left -= step) {
        const size_t block = rows - row < BLOCK_ROWS ? rows - row : BLOCK_ROWS;
        packed_sums(weight, left, bits, block, width, codes, 0, sums);
        for (i = 0; i < block; i++) {
            sums[i] *= up;
        }
        rows_to_codes(sums, block, 0, by + row, shift, low, high, next + row);
    }
}
