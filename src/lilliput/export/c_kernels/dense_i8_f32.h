#include "block_sums_f32.h"
#include "codes_to_float.h"
#include "tile.h"

/* y = weight x + bias for weights that are codes, decoded a few columns of a block at a time; bias may be NULL. */
KERNEL void dense_i8_f32(const int8_t *RESTRICT weight, const float *RESTRICT bias, size_t rows, size_t width,
                        const float *RESTRICT x, float *RESTRICT y)
{
    size_t row, first = 0, column;
    for (row = 0; row < rows; row += BLOCK_ROWS) {
        const size_t height = rows - row < BLOCK_ROWS ? rows - row : BLOCK_ROWS;
        float tile[TILE_COLUMNS * BLOCK_ROWS], sums[BLOCK_ROWS] = {0.0f};
        for (column = 0; column < width; column += TILE_COLUMNS) {
            const size_t columns = width - column < TILE_COLUMNS ? width - column : TILE_COLUMNS;
            const size_t n = columns * height;
            codes_to_float(weight + first, n, tile);
            if (height == BLOCK_ROWS) {
                block_sums_f32(BLOCK_ROWS, tile, BLOCK_ROWS, columns, x + column, sums);
            } else {
                last_sums_f32(tile, height, columns, x + column, sums);
            }
            first += n;
        }
        for (column = 0; column < height; column++) {
            y[row + column] = bias ? sums[column] + bias[row + column] : sums[column];
        }
    }
}
