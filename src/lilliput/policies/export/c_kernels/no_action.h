#include "core.h"

/* What a policy answers that cannot decide. */
KERNEL void no_action(float *action, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++) {
        action[i] = float_from_bits(0x7fc00000u); /* NaN */
    }
}
