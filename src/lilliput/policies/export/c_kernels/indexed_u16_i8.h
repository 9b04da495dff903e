#include "core.h"

/* The sum of the values of a row, each times the code at its column less the zero point. */
KERNEL int32_t indexed_u16_i8(const FLASH int8_t *RESTRICT values, const FLASH uint16_t *RESTRICT columns, size_t count,
                      const uint8_t *RESTRICT codes, int32_t zero_point)
{
    int32_t sum = 0;
    size_t i;
    for (i = 0; i < count; i++) {
        sum += values[i] * (codes[columns[i]] - zero_point);
    }
    return sum;
}
