#include "core.h"

/* Whole bytes, such as pixels, as floats. */
KERNEL void bytes_to_float(const uint8_t *RESTRICT bytes, size_t n, float *RESTRICT values)
{
    size_t i;
    for (i = 0; i < n; i++) {
        values[i] = (float)bytes[i];
    }
}
