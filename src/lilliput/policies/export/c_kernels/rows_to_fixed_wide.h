#include "rows_to_codes.h"

/* y = clamp((sum * multiplier + offset * 2^16) / 2^shift, rounded down, from low to high); a step of 0 means one multiplier
   and offset for all. */
KERNEL void rows_to_fixed_wide(const int32_t *sums, size_t n, const FLASH requantize_row *RESTRICT by, const size_t step,
                               const int shift, const int32_t low, const int32_t high, int32_t *y)
{
    size_t i;
    for (i = 0; i < n; i++) {
        const int64_t value = ((int64_t)sums[i] * by->multiplier + (int64_t)by->offset * 65536) >> shift;
        y[i] = value < low ? low : value > high ? high : (int32_t)value;
        by += step;
    }
}
