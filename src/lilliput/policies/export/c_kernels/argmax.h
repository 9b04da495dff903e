#include "core.h"

/* The index of the largest, the first where several are. */
KERNEL int32_t argmax(const float *x, size_t n)
{
    size_t best = 0, i;
    for (i = 1; i < n; i++) {
        if (x[i] > x[best]) {
            best = i;
        }
    }
    return (int32_t)best;
}
