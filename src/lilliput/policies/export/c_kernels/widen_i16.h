#include "core.h"

KERNEL void widen_i16(const FLASH int16_t *RESTRICT from, size_t n, int32_t *RESTRICT to)
{
    size_t i;
    for (i = 0; i < n; i++) {
        to[i] = from[i];
    }
}
