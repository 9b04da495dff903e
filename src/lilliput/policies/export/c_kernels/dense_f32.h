#include "block_sums_f32.h"
#include "stored.h"

/* y = weight x + bias; bias may be NULL. */
KERNEL void dense_f32(const FLASH float *RESTRICT weight, REALS bias, size_t rows, size_t width,
                      const float *RESTRICT x, float *RESTRICT y)
{
    const size_t whole = rows - rows % BLOCK_ROWS;
    float sums[MOST_ROWS];
    size_t row, i;
    for (row = 0; MOST_ROWS == BLOCK_ROWS && row < whole; row += BLOCK_ROWS, weight += BLOCK_ROWS * width) {
        for (i = 0; i < MOST_ROWS; i++) {
            sums[i] = 0.0f;
        }
        block_sums_f32(BLOCK_ROWS, weight, BLOCK_ROWS, width, x, sums);
        for (i = 0; i < MOST_ROWS; i++) {
            y[row + i] = ANY(bias) ? sums[i] + REAL(bias, row + i) : sums[i];
        }
    }
    if (whole < rows) {
        for (i = 0; i < MOST_ROWS; i++) {
            sums[i] = 0.0f;
        }
        last_sums_f32(weight, rows - whole, width, x, sums);
        for (i = 0; i < rows - whole; i++) {
            y[whole + i] = ANY(bias) ? sums[i] + REAL(bias, whole + i) : sums[i];
        }
    }
}
