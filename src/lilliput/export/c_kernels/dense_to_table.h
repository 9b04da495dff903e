#include "integer_sums.h"

/* Codes of a curved activation. first[b]: the code where the b-th of 256 bins begins; steps[c]: the smallest value of
   the code c + 1; a bin is 2^shift values wide and holds at most 7 steps. */
typedef struct {
    const uint8_t *first;
    const int32_t *steps;
    int shift;
} code_table;

/* The next layer's codes, by the table, of the values offset + sum * multiplier / 2^20, rounded down. */
KERNEL void dense_to_table(const weight_code *weight, size_t rows, size_t width, const integer_code *RESTRICT codes,
                           const requantize_row *RESTRICT by, code_table table, uint8_t *RESTRICT next)
{
    const requantize_row *const end = by + rows;
    int32_t sums[BLOCK_ROWS];
    while (by < end) {
        const size_t block = end - by < BLOCK_ROWS ? (size_t)(end - by) : BLOCK_ROWS;
        const int32_t *sum = sums;
        integer_sums(&weight, block, width, codes, sums);
        for (; sum < sums + block; sum++, by++) {
            const int64_t product = (int64_t)*sum * by->multiplier;
            const int32_t value = by->offset + (int32_t)(product >> (20 + SUM_SHIFT));
            const int32_t bin = value >> table.shift;
            const uint8_t first = table.first[bin < 0 ? 0 : bin > 255 ? 255 : bin];
            const int32_t *step = table.steps + first;
            step += value >= step[3] ? 4 : 0; /* how many of the next 7 steps are reached */
            step += value >= step[1] ? 2 : 0;
            step += value >= step[0] ? 1 : 0;
            *next++ = (uint8_t)(step - table.steps);
        }
    }
}
