#include "core.h"

/* A convolution over (height, width, channels), giving (out_height, out_width, outputs). */
typedef struct {
    size_t outputs, channels, height, width;
    size_t kernel_height, kernel_width, stride_y, stride_x, pad_y, pad_x;
    size_t out_height, out_width;
    size_t out_step; /* from a pixel of y to the next: all outputs of the layer */
} conv2d_shape;

/* The columns of the kernel that meet the image at an output column. */
KERNEL void columns_inside(const conv2d_shape *s, size_t column, size_t *first, size_t *end)
{
    const size_t left = column * s->stride_x; /* in the padded image */
    *first = left < s->pad_x ? s->pad_x - left : 0;
    *first = *first < s->kernel_width ? *first : s->kernel_width;
    *end = s->pad_x + s->width > left ? s->pad_x + s->width - left : 0;
    *end = *end < s->kernel_width ? *end : s->kernel_width;
    *end = *end > *first ? *end : *first;
}
