#include "core.h"

KERNEL void widen_u8(const FLASH uint8_t *RESTRICT from, size_t n, int32_t *RESTRICT to)
{
    size_t i;
    for (i = 0; i < n; i++) {
        to[i] = from[i];
    }
}
