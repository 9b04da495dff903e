#include "integer_sums.h"

/* The next layer's codes: clamp((sum * multiplier + offset * 2^16) / 2^shift, rounded down, from low to high);
   shift is 32 or more. */
KERNEL void dense_to_codes(const weight_code *weight, size_t rows, size_t width, const integer_code *RESTRICT codes,
                           const requantize_row *RESTRICT by, int shift, int32_t low, int32_t high,
                           uint8_t *RESTRICT next)
{
    const requantize_row *const end = by + rows;
    int32_t sums[BLOCK_ROWS];
    shift -= 32 - SUM_SHIFT;
    while (by < end) {
        const size_t block = end - by < BLOCK_ROWS ? (size_t)(end - by) : BLOCK_ROWS;
        const int32_t *sum = sums;
        integer_sums(&weight, block, width, codes, sums);
        for (; sum < sums + block; sum++, by++) {
            const int64_t value = (int64_t)*sum * by->multiplier + (int64_t)by->offset * (1 << (16 + SUM_SHIFT));
            int32_t code = (int32_t)(value >> 32) >> shift;
            code = code < low ? low : code;
            *next++ = (uint8_t)(code > high ? high : code);
        }
    }
}
