#include "exponential.h"

/* log(1 + exp(x)): the larger of x and 0, and log(1 + u) = 2 artanh(u / (2 + u)) for u = exp(-|x|), at most 1. */
KERNEL float softplus_value(float x)
{
    float u = expm1_in_range(clamp_nan(x < 0.0f ? x : -x, -87.0f, 0.0f)) + 1.0f;
    float s = u / (2.0f + u);
    float square = s * s;
    float p = 7.69230769e-2f;
    p = multiply_add(p, square, 9.09090909e-2f);
    p = multiply_add(p, square, 1.11111111e-1f);
    p = multiply_add(p, square, 1.42857143e-1f);
    p = multiply_add(p, square, 2.0e-1f);
    p = multiply_add(p, square, 3.33333333e-1f);
    p = multiply_add(p, square, 1.0f);
    return (x > 0.0f ? x : 0.0f) + 2.0f * s * p;
}

/* y = a / (a + b) with a = 1 + softplus of the first n numbers of x, b of the n behind them. */
KERNEL void beta_mean(const float *x, size_t n, float *y)
{
    size_t i;
    for (i = 0; i < n; i++) {
        float a = 1.0f + softplus_value(x[i]), b = 1.0f + softplus_value(x[n + i]);
        y[i] = a / (a + b);
    }
}
