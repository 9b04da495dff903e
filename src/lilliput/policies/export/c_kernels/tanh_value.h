#include "exponential.h"

/* tanh(x), at most 3e-7 off. */
KERNEL float tanh_value(float x)
{
    /* Beyond 9.02 the nearest float is 1. */
    float e = expm1_in_range(2.0f * clamp_nan(x, -9.02f, 9.02f));
    return e / (e + 2.0f);
}
