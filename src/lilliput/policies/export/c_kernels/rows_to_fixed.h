#include "high_product.h"
#include "rows_to_codes.h"

/* y = clamp((sum * 2^up * multiplier / 2^32 + offset) / 2^shift, each rounded down, from low to high); a step of 0 means one
   multiplier and offset for all. */
KERNEL void rows_to_fixed(const int32_t *sums, size_t n, const FLASH requantize_row *RESTRICT by, const size_t step,
                          const int up, const int shift, const int32_t low, const int32_t high, int32_t *y)
{
    const int32_t *const end = sums + n;
    for (; sums != end; by += step) {
        const int32_t value = (high_product(*sums++ * ((int32_t)1 << up), by->multiplier) + by->offset) >> shift;
        *y++ = value < low ? low : value > high ? high : value;
    }
}
