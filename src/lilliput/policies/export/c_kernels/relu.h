#include "core.h"

KERNEL void relu(float *x, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++) {
#if LILLIPUT_SOFT_FLOATS /* its bits order a float above zero, and NaN beyond them */
        x[i] = float_bits(x[i]) - 1u < 0x7f800000u ? x[i] : 0.0f;
#else
        x[i] = x[i] > 0.0f ? x[i] : 0.0f;
#endif
    }
}
