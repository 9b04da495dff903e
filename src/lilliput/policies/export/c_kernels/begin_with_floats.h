#include "core.h"

/* The state at an episode's start. */
KERNEL void begin_with_floats(const FLASH float *first, size_t n, float *state)
{
    size_t i;
    for (i = 0; i < n; i++) {
        state[i] = first[i];
    }
}
