#include "packed_sums.h"
#include "rows_to_table.h"

/* A packed layer's sums, `up` times, as the next layer's codes, behind a curved activation: see rows_to_table. */
KERNEL void packed_to_table(const FLASH uint8_t *RESTRICT weight, unsigned bits, size_t rows, size_t width,
                            const uint8_t *RESTRICT codes, int32_t up, const FLASH requantize_row *RESTRICT by,
                            code_table table, int32_t late, int32_t falling, int32_t low, uint8_t *RESTRICT next)
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
        rows_to_table(sums, block, 0, by + row, table, late, falling, low, next + row);
    }
}
