#include "integer_sums.h"
#include "rows_to_fixed.h"

/* A layer's sums as integers of 32 bits: see rows_to_fixed. */
KERNEL void dense_to_fixed(const FLASH weight_code *weight, size_t rows, size_t width, const integer_code *RESTRICT codes,
                           const FLASH requantize_row *RESTRICT by, const int up, const int shift, int32_t low, int32_t high,
                           int32_t *RESTRICT y)
{
    int32_t sums[MOST_ROWS];
    size_t row;
    for (row = 0; row < rows; row += BLOCK_ROWS) {
        const size_t block = rows - row < BLOCK_ROWS ? rows - row : BLOCK_ROWS;
        integer_sums(&weight, block, width, codes, sums);
        rows_to_fixed(sums, block, by + row, 1, up - SUM_SHIFT, shift, low, high, y + row);
    }
}
