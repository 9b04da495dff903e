#include "half_to_float.h"

/* The state at an episode's start, stored in half precision. */
KERNEL void begin_with_halves(const FLASH uint16_t *first, size_t n, float *state)
{
    half_to_float(first, n, state);
}
