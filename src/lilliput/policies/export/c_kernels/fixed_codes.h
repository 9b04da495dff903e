#include "rows_to_codes.h"

/* codes = clamp((x * multiplier + offset) / 2^shift, rounded down, from low to high), of numbers of 16 bits: all fits 32. */
#define FIXED_CODES(name, number) \
    KERNEL void name(const number *RESTRICT x, size_t n, const FLASH requantize_row *RESTRICT by, const int shift, \
                     const int32_t low, const int32_t high, uint8_t *RESTRICT codes) \
    { \
        size_t i; \
        for (i = 0; i < n; i++) { \
            const int32_t code = (x[i] * by[i].multiplier + by[i].offset) >> shift; \
            codes[i] = (uint8_t)(code < low ? low : code > high ? high : code); \
        } \
    }
