#include "core.h"

/* Signed codes as floats. */
KERNEL void codes_to_float(const FLASH int8_t *RESTRICT codes, size_t n, float *RESTRICT values)
{
    size_t i;
    for (i = 0; i < n; i++) {
        values[i] = (float)codes[i];
    }
}
