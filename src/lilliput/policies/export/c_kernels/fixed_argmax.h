#include "core.h"

/* The index of the largest x + offset, the first where several are; offset may be NULL. */
KERNEL int32_t fixed_argmax(const int32_t *x, const FLASH int32_t *offset, size_t n)
{
    int32_t best = 0, largest = INT32_MIN;
    size_t i;
    for (i = 0; i < n; i++) {
        const int32_t value = x[i] + (offset == NULL ? 0 : offset[i]);
        if (value > largest) {
            largest = value;
            best = (int32_t)i;
        }
    }
    return best;
}
