#include "conv2d_shape.h"

/* y = the cross-correlation of x with weight, plus bias (which may be NULL); zeros around x. */
KERNEL void conv2d_f32(const conv2d_shape *s, const float *RESTRICT weight, const float *RESTRICT bias,
                       const float *RESTRICT x, float *RESTRICT y)
{
    size_t output, row, column, channel, i, j;
    for (output = 0; output < s->outputs; output++) {
        for (row = 0; row < s->out_height; row++) {
            for (column = 0; column < s->out_width; column++) {
                const float *w = weight + output * s->channels * s->kernel_height * s->kernel_width;
                float sum = 0.0f;
                for (channel = 0; channel < s->channels; channel++) {
                    for (i = 0; i < s->kernel_height; i++) {
                        size_t from_y = row * s->stride_y + i - s->pad_y; /* wraps to a large number above the image */
                        size_t line = (channel * s->height + from_y) * s->width;
                        for (j = 0; j < s->kernel_width; j++, w++) {
                            size_t from_x = column * s->stride_x + j - s->pad_x;
                            if (from_y < s->height && from_x < s->width) {
                                sum = multiply_add(*w, x[line + from_x], sum);
                            }
                        }
                    }
                }
                *y++ = bias ? sum + bias[output] : sum;
            }
        }
    }
}
