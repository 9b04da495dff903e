#include "core.h"

/* Whether no number is NaN or infinite. */
KERNEL int all_finite(const float *x, size_t n)
{
    uint32_t seen = 0;
    size_t i;
    for (i = 0; i < n; i++) { /* an exponent of ones carries into the highest bit */
        seen |= (float_bits(x[i]) & 0x7fffffffu) + 0x00800000u;
    }
    return !(seen >> 31);
}
