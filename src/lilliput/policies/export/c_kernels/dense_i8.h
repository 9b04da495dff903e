#include "block_sums_i8.h"
#include "real_sums.h"

/* y = (weight (codes - zero_point)) * (scale * input_scale) + bias; exact up to the two last roundings.
   A scale step of 0 means one scale for all rows; bias may be NULL. */
KERNEL void dense_i8(const FLASH int8_t *RESTRICT weight, size_t rows, size_t width, const uint8_t *RESTRICT codes,
                     int32_t zero_point, REALS scale, size_t scale_step, float input_scale,
                     REALS bias, float *RESTRICT y)
{
    const size_t whole = rows - rows % BLOCK_ROWS;
    int32_t sums[MOST_ROWS];
    size_t row;
#if defined(PREPARED_COLUMNS) && !defined(BLOCK_SUMS_I8_DOTS)
    if (width <= PREPARED_COLUMNS) {
        prepared_codes prepared;
        int32_t block_sums[1][BLOCK_ROWS];
        prepare_codes(codes, width, zero_point, &prepared);
        for (row = 0; row < rows; row += BLOCK_ROWS, weight += BLOCK_ROWS * width) {
            const size_t height = rows - row < BLOCK_ROWS ? rows - row : BLOCK_ROWS;
            prepared_sums(weight, height, width, &prepared, zero_point, block_sums);
            real_sums(block_sums[0], height, REALS_FROM(scale, row * scale_step), scale_step, input_scale,
                      REALS_FROM_ANY(bias, row), y + row);
        }
        return;
    }
#endif
    for (row = 0; MOST_ROWS == BLOCK_ROWS && row < whole; row += BLOCK_ROWS, weight += BLOCK_ROWS * width) {
        block_sums_i8(weight, BLOCK_ROWS, width, codes, zero_point, sums);
        real_sums(sums, BLOCK_ROWS, REALS_FROM(scale, row * scale_step), scale_step, input_scale, REALS_FROM_ANY(bias, row), y + row);
    }
    if (whole < rows) {
        block_sums_i8(weight, rows - whole, width, codes, zero_point, sums);
        real_sums(sums, rows - whole, REALS_FROM(scale, whole * scale_step), scale_step, input_scale, REALS_FROM_ANY(bias, whole),
                  y + whole);
    }
}
