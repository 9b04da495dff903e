#include "stored.h"

/* x = (x - mean) / sqrt(variance + epsilon) * weight + bias */
KERNEL void layer_norm(float *x, size_t n, REALS weight, REALS bias, float epsilon)
{
    float mean = 0.0f, variance = 0.0f, deviation;
    size_t i;
    for (i = 0; i < n; i++) {
        mean += x[i];
    }
    mean /= (float)n;
    for (i = 0; i < n; i++) {
        x[i] -= mean;
        variance += x[i] * x[i];
    }
    deviation = sqrtf(variance / (float)n + epsilon);
    for (i = 0; i < n; i++) {
        x[i] = x[i] / deviation * REAL(weight, i) + REAL(bias, i);
    }
}
