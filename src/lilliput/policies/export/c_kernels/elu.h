#include "exponential.h"

/* x where x > 0, else alpha * (exp(x) - 1) */
KERNEL void elu(float *x, size_t n, float alpha)
{
    size_t i;
    for (i = 0; i < n; i++) {
        float below = alpha * expm1_in_range(clamp_nan(x[i], -87.0f, 0.0f));
        x[i] = x[i] > 0.0f ? x[i] : below;
    }
}
