#include "packed_sums.h"
#include "rows_to_fixed.h"

/* A packed layer's sums as integers of 32 bits: see rows_to_fixed. */
KERNEL void packed_to_fixed(const FLASH uint8_t *RESTRICT weight, unsigned bits, size_t rows, size_t width,
                            const uint8_t *RESTRICT codes, const FLASH requantize_row *RESTRICT by, const int up, const int shift,
                            int32_t low, int32_t high, int32_t *RESTRICT y)
{
    const size_t step = BLOCK_ROWS / 8 * width * bits;
    size_t left = bytes_of_fields(rows * width, bits);
    int32_t sums[MOST_ROWS];
    size_t row;
    for (row = 0; row < rows; row += BLOCK_ROWS, weight += step, left -= step) {
        const size_t block = rows - row < BLOCK_ROWS ? rows - row : BLOCK_ROWS;
        packed_sums(weight, left, bits, block, width, codes, 0, sums);
        rows_to_fixed(sums, block, by + row, 1, up, shift, low, high, y + row);
    }
}
