#include "core.h"

/* y[i] = x[indices[i]] */
KERNEL void select_inputs_u16(const FLASH uint16_t *RESTRICT indices, size_t n, const float *RESTRICT x, float *RESTRICT y)
{
    size_t i;
    for (i = 0; i < n; i++) {
        y[i] = x[indices[i]];
    }
}
