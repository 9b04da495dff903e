#include "integer_sums.h"
#include "rows_to_table.h"

/* A layer's sums as the next layer's codes, behind a curved activation: see rows_to_table. */
KERNEL void dense_to_table(const FLASH weight_code *weight, size_t rows, size_t width, const integer_code *RESTRICT codes,
                           const FLASH requantize_row *RESTRICT by, code_table table, int32_t late, int32_t falling,
                           int32_t low, uint8_t *RESTRICT next)
{
    int32_t sums[MOST_ROWS];
    size_t row;
    for (row = 0; row < rows; row += BLOCK_ROWS) {
        const size_t block = rows - row < BLOCK_ROWS ? rows - row : BLOCK_ROWS;
        integer_sums(&weight, block, width, codes, sums);
        rows_to_table(sums, block, SUM_SHIFT, by + row, table, late, falling, low, next + row);
    }
}
