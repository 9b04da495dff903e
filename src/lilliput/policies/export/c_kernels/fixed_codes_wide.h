#include "rows_to_codes.h"

/* codes = clamp((x * multiplier + offset * 2^16) / 2^shift, rounded down, from low to high). */
#define FIXED_CODES_WIDE(name, number) \
    KERNEL void name(const number *RESTRICT x, size_t n, const FLASH requantize_row *RESTRICT by, const int shift, \
                     const int32_t low, const int32_t high, uint8_t *RESTRICT codes) \
    { \
        size_t i; \
        for (i = 0; i < n; i++) { \
            const int64_t value = (int64_t)x[i] * by[i].multiplier + (int64_t)by[i].offset * 65536; \
            const int64_t code = value >> shift; \
            codes[i] = (uint8_t)(code < low ? low : code > high ? high : (int32_t)code); \
        } \
    }
