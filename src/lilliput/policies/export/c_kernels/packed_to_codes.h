#include "packed_sums.h"
#include "rows_to_codes.h"

/* A packed layer's sums, `up` times, as the next layer's codes: see rows_to_codes. */
KERNEL void packed_to_codes(const uint8_t *RESTRICT weight, unsigned bits, size_t rows, size_t width,
                            const uint8_t *RESTRICT codes, int32_t up, const requantize_row *RESTRICT by,
                            int shift, int32_t low, int32_t high, uint8_t *RESTRICT next)
{
    const uint8_t *const end = weight + (rows * width * bits + 7) / 8;
    int32_t sums[BLOCK_ROWS];
    size_t row, i;
    for (row = 0; row < rows; row += BLOCK_ROWS, weight += BLOCK_ROWS / 8 * width * bits) {
        const size_t block = rows - row < BLOCK_ROWS ? rows - row : BLOCK_ROWS;
        packed_sums(weight, end, bits, block, width, codes, 0, sums);
        for (i = 0; i < block; i++) {
            sums[i] *= up;
        }
        rows_to_codes(sums, block, 0, by + row, shift, low, high, next + row);
    }
}
