#include "dense_decoded_f32.h"

/* y = weight x + bias for weights that are codes, without their zeros; bias may be NULL. */
KERNEL void bitmask_i8_f32(const FLASH int8_t *RESTRICT weight, const FLASH uint8_t *RESTRICT mask, REALS bias,
                           size_t rows, size_t width, const float *RESTRICT x, float *RESTRICT y)
{
    dense_decoded_f32(8, weight, mask, bias, rows, width, x, y);
}
