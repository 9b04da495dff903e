#include "core.h"

/* A row of a weight without its zeros as a full row: the next value wherever the mask, from `bit` on, has a one. */
KERNEL void spread_bitmask_f32(const float *RESTRICT values, const uint8_t *RESTRICT mask, size_t bit, size_t width,
                               float *RESTRICT row)
{
    size_t i;
    memset(row, 0, width * sizeof *row);
    for (i = 0; i < width; i++, bit++) {
        if (mask[bit / 8] >> (bit % 8) & 1) {
            row[i] = *values++;
        }
    }
}
