#include "core.h"

KERNEL void copy_codes(const FLASH int8_t *RESTRICT from, size_t n, int8_t *RESTRICT to)
{
#if defined(__MEMX)
    size_t i;
    for (i = 0; i < n; i++) {
        to[i] = from[i];
    }
#else
    memcpy(to, from, n);
#endif
}
