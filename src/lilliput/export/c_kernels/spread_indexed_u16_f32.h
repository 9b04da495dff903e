#include "core.h"

/* A row of a weight without its zeros as a full row: `count` values at the columns given. */
KERNEL void spread_indexed_u16_f32(const float *RESTRICT values, const uint16_t *RESTRICT columns, size_t count, size_t width,
                                    float *RESTRICT row)
{
    size_t i;
    memset(row, 0, width * sizeof *row);
    for (i = 0; i < count; i++) {
        row[columns[i]] = values[i];
    }
}
