#include "core.h"

/* y = weight x + bias; weight is rows x width, row after row; bias may be NULL.
   Four rows at a time, so that each input is read once for four products. */
KERNEL void dense_f32(const float *RESTRICT weight, const float *RESTRICT bias, size_t rows, size_t width,
                      const float *RESTRICT x, float *RESTRICT y)
{
    const size_t whole = rows - rows % 4;
    size_t row, i;
    for (row = 0; row < whole; row += 4) {
        const float *w0 = weight + row * width, *w1 = w0 + width, *w2 = w1 + width, *w3 = w2 + width;
        float s0 = 0.0f, s1 = 0.0f, s2 = 0.0f, s3 = 0.0f;
        for (i = 0; i < width; i++) {
            s0 = multiply_add(w0[i], x[i], s0);
            s1 = multiply_add(w1[i], x[i], s1);
            s2 = multiply_add(w2[i], x[i], s2);
            s3 = multiply_add(w3[i], x[i], s3);
        }
        y[row] = s0;
        y[row + 1] = s1;
        y[row + 2] = s2;
        y[row + 3] = s3;
    }
    for (row = whole; row < rows; row++) {
        const float *w = weight + row * width;
        float sum = 0.0f;
        for (i = 0; i < width; i++) {
            sum = multiply_add(w[i], x[i], sum);
        }
        y[row] = sum;
    }
    if (bias) {
        for (row = 0; row < rows; row++) {
            y[row] += bias[row];
        }
    }
}
