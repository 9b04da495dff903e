#include "core.h"

KERNEL void copy_codes(const int8_t *RESTRICT from, size_t n, int8_t *RESTRICT to)
{
    memcpy(to, from, n);
}
