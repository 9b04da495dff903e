#include "core.h"

/* A convolution over (channels, height, width), giving (outputs, out_height, out_width). */
typedef struct {
    size_t outputs, channels, height, width;
    size_t kernel_height, kernel_width, stride_y, stride_x, pad_y, pad_x;
    size_t out_height, out_width;
} conv2d_shape;
