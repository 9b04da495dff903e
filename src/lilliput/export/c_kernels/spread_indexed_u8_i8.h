#include "core.h"

/* A row of a weight without its zeros as a full row: `count` values at the columns given. */
KERNEL void spread_indexed_u8_i8(const int8_t *RESTRICT values, const uint8_t *RESTRICT columns, size_t count, size_t width,
                                    int8_t *RESTRICT row)
{
    size_t i;
    memset(row, 0, width * sizeof *row);
    for (i = 0; i < count; i++) {
        row[columns[i]] = values[i];
    }
}
