#include "core.h"

/* y = the numbers of x with m others in front of the one at `start`. */
KERNEL void put_into(const float *RESTRICT x, size_t n, size_t start, const float *RESTRICT others, size_t m,
                     float *RESTRICT y)
{
    memcpy(y, x, start * sizeof *y);
    memcpy(y + start, others, m * sizeof *y);
    memcpy(y + start + m, x + start, (n - start) * sizeof *y);
}
