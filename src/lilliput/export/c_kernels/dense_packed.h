#include "block_sums_i8.h"
#include "real_sums.h"
#include "tile.h"
#include "unpack_codes.h"

/* dense_i8 for packed weights of 2 to 7 bits, unpacked a few columns of a block at a time. */
KERNEL void dense_packed(const uint8_t *RESTRICT weight, unsigned bits, size_t rows, size_t width,
                         const uint8_t *RESTRICT codes, int32_t zero_point, const float *RESTRICT scale,
                         size_t scale_step, float input_scale, const float *RESTRICT bias, float *RESTRICT y)
{
    size_t row, first = 0, column, i;
    for (row = 0; row < rows; row += BLOCK_ROWS) {
        const size_t height = rows - row < BLOCK_ROWS ? rows - row : BLOCK_ROWS;
        int32_t sums[BLOCK_ROWS] = {0}, part[BLOCK_ROWS];
        int8_t tile[TILE_COLUMNS * BLOCK_ROWS];
        for (column = 0; column < width; column += TILE_COLUMNS) {
            const size_t columns = width - column < TILE_COLUMNS ? width - column : TILE_COLUMNS;
            unpack_codes(weight, bits, first, columns * height, tile);
            block_sums_i8(tile, height, columns, codes + column, zero_point, part);
            for (i = 0; i < height; i++) {
                sums[i] += part[i];
            }
            first += columns * height;
        }
        real_sums(sums, height, scale + row * scale_step, scale_step, input_scale, bias ? bias + row : bias, y + row);
    }
}
