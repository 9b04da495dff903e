#include "integer_sums.h"
#include "rows_to_codes.h"

/* A layer's sums as the next layer's codes: see rows_to_codes. */
KERNEL void dense_to_codes(const FLASH weight_code *weight, size_t rows, size_t width, const integer_code *RESTRICT codes,
                           const FLASH requantize_row *RESTRICT by, int shift, int32_t low, int32_t high,
                           uint8_t *RESTRICT next)
{
    int32_t sums[MOST_ROWS];
    size_t row;
    for (row = 0; row < rows; row += BLOCK_ROWS) {
        const size_t block = rows - row < BLOCK_ROWS ? rows - row : BLOCK_ROWS;
        integer_sums(&weight, block, width, codes, sums);
        rows_to_codes(sums, block, SUM_SHIFT, by + row, shift, low, high, next + row);
    }
}
