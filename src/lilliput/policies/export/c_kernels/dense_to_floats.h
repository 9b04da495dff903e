#include "integer_sums.h"
#include "real_sums.h"

/* y = sums * scale + bias, as floats. `centre`: what a sum lacks where codes count from elsewhere than zero.
   A scale step of 0 means one scale for all rows; bias may be NULL. */
KERNEL void dense_to_floats(const FLASH weight_code *weight, size_t rows, size_t width, const integer_code *RESTRICT codes,
                            const FLASH int32_t *RESTRICT centre, REALS scale, size_t scale_step,
                            REALS bias, float *RESTRICT y)
{
    int32_t sums[MOST_ROWS];
    size_t row, i;
    for (row = 0; row < rows; row += BLOCK_ROWS) {
        const size_t block = rows - row < BLOCK_ROWS ? rows - row : BLOCK_ROWS;
        integer_sums(&weight, block, width, codes, sums);
        for (i = 0; i < block; i++) {
            sums[i] = (sums[i] >> SUM_SHIFT) + centre[row + i];
        }
        real_sums(sums, block, REALS_FROM(scale, row * scale_step), scale_step, 1.0f, REALS_FROM_ANY(bias, row), y + row);
    }
}
