#include "conv2d_shape.h"
#include "real_sum.h"

/* y = the cross-correlation of (codes - zero_point) with weight, times (scale * input_scale), plus bias.
   Around the image lies `padding`, the code of zero. A scale step of 0 means one scale for all; bias may be NULL. */
KERNEL void conv2d_i8(const conv2d_shape *s, const int8_t *RESTRICT weight, const uint8_t *RESTRICT codes,
                      int32_t zero_point, int32_t padding, const float *RESTRICT scale, size_t scale_step,
                      float input_scale, const float *RESTRICT bias, float *RESTRICT y)
{
    size_t output, row, column, channel, i, j;
    for (output = 0; output < s->outputs; output++) {
        for (row = 0; row < s->out_height; row++) {
            for (column = 0; column < s->out_width; column++) {
                const int8_t *w = weight + output * s->channels * s->kernel_height * s->kernel_width;
                int32_t sum = 0;
                for (channel = 0; channel < s->channels; channel++) {
                    for (i = 0; i < s->kernel_height; i++) {
                        size_t from_y = row * s->stride_y + i - s->pad_y; /* wraps to a large number above the image */
                        size_t line = (channel * s->height + from_y) * s->width;
                        for (j = 0; j < s->kernel_width; j++, w++) {
                            size_t from_x = column * s->stride_x + j - s->pad_x;
                            int inside = from_y < s->height && from_x < s->width;
                            sum += *w * ((inside ? codes[line + from_x] : padding) - zero_point);
                        }
                    }
                }
                *y++ = real_sum(sum, scale[output * scale_step] * input_scale, bias, output);
            }
        }
    }
}
