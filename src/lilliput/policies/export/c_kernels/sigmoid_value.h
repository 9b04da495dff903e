#include "exponential.h"

/* 1 / (1 + exp(-x)) */
KERNEL float sigmoid_value(float x)
{
    float small = expm1_in_range(clamp_nan(x < 0.0f ? x : -x, -87.0f, 0.0f)) + 1.0f;
    float y = small / (1.0f + small);
    return x < 0.0f ? y : 1.0f - y;
}
