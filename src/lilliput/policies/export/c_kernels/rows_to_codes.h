#include "core.h"

/* What makes codes of the sums of a row. */
typedef struct {
    int32_t multiplier, offset;
} requantize_row;

/* The next layer's codes: clamp((sum * multiplier + offset * 2^16) / 2^shift, rounded down, from low to high), of sums
   in units of 2^-sum_shift; shift is 32 or more. */
ALWAYS_INLINE void rows_to_codes(const int32_t *RESTRICT sums, size_t n, const int sum_shift,
                                 const FLASH requantize_row *RESTRICT by, int shift, int32_t low, int32_t high,
                                 uint8_t *RESTRICT next)
{
    const int32_t *const end = sums + n;
    shift -= 32 - sum_shift;
    for (; sums < end; sums++, by++) {
        const int64_t value = (int64_t)*sums * by->multiplier + (int64_t)by->offset * ((int32_t)1 << (16 + sum_shift));
        int32_t code = (int32_t)(value >> 32) >> shift;
        code = code < low ? low : code;
        *next++ = (uint8_t)(code > high ? high : code);
    }
}
