#include "core.h"

/* exp(x) - 1 for -87 <= x <= 88, within 1.5 units in the last place or so; branch-free, so that compilers vectorize it.
   x = n ln 2 + r, exp(x) - 1 = 2^n (exp(r) - 1) + (2^n - 1). */
KERNEL float expm1_in_range(float x)
{
    const float to_integer = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer in the low bits */
    float shifted = multiply_add(x, 1.44269504f, to_integer);
    float n = shifted - to_integer;
    float power = float_from_bits((float_bits(shifted) + 127u) << 23);
    float r = multiply_add(n, -0.693145752f, x); /* ln 2 in two parts, the first of 15 bits: n times it is exact */
    float p;
    r = multiply_add(n, -1.42860677e-6f, r);
    p = 1.98412698e-4f;
    p = multiply_add(p, r, 1.38888889e-3f);
    p = multiply_add(p, r, 8.33333333e-3f);
    p = multiply_add(p, r, 4.16666667e-2f);
    p = multiply_add(p, r, 1.66666667e-1f);
    p = multiply_add(p, r, 0.5f);
    p = multiply_add(p * r, r, r);
    return multiply_add(p, power, power - 1.0f);
}

KERNEL float clamp_nan(float x, float low, float high) /* NaN stays NaN */
{
    x = x < low ? low : x;
    return x > high ? high : x;
}
