#include "dense_decoded_f32.h"

/* y = weight x + bias for weights that are codes; bias may be NULL. */
KERNEL void dense_i8_f32(const FLASH int8_t *RESTRICT weight, REALS bias, size_t rows, size_t width,
                         const float *RESTRICT x, float *RESTRICT y)
{
    dense_decoded_f32(8, weight, NULL, bias, rows, width, x, y);
}
