#include "real_sum.h"

/* y = (weight (codes - zero_point)) * (scale * input_scale) + bias; exact up to the two last roundings.
   A scale step of 0 means one scale for all rows; bias may be NULL. */
KERNEL void dense_i8(const int8_t *RESTRICT weight, size_t rows, size_t width, const uint8_t *RESTRICT codes,
                     int32_t zero_point, const float *RESTRICT scale, size_t scale_step, float input_scale,
                     const float *RESTRICT bias, float *RESTRICT y)
{
    const size_t whole = rows - rows % 4;
    size_t row, i;
    for (row = 0; row < whole; row += 4) {
        const int8_t *w0 = weight + row * width, *w1 = w0 + width, *w2 = w1 + width, *w3 = w2 + width;
        int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        for (i = 0; i < width; i++) {
            int32_t code = codes[i] - zero_point;
            s0 += w0[i] * code;
            s1 += w1[i] * code;
            s2 += w2[i] * code;
            s3 += w3[i] * code;
        }
        y[row] = real_sum(s0, scale[row * scale_step] * input_scale, bias, row);
        y[row + 1] = real_sum(s1, scale[(row + 1) * scale_step] * input_scale, bias, row + 1);
        y[row + 2] = real_sum(s2, scale[(row + 2) * scale_step] * input_scale, bias, row + 2);
        y[row + 3] = real_sum(s3, scale[(row + 3) * scale_step] * input_scale, bias, row + 3);
    }
    for (row = whole; row < rows; row++) {
        const int8_t *w = weight + row * width;
        int32_t sum = 0;
        for (i = 0; i < width; i++) {
            sum += w[i] * (codes[i] - zero_point);
        }
        y[row] = real_sum(sum, scale[row * scale_step] * input_scale, bias, row);
    }
}
