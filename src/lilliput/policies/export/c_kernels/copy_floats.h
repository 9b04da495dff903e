#include "core.h"

KERNEL void copy_floats(const float *RESTRICT from, size_t n, float *RESTRICT to)
{
    memcpy(to, from, n * sizeof *to);
}
