#include "dense_decoded_f32.h"

/* y = weight x + bias for weights without their zeros; bias may be NULL. */
KERNEL void bitmask_f32(const FLASH float *RESTRICT weight, const FLASH uint8_t *RESTRICT mask, REALS bias,
                        size_t rows, size_t width, const float *RESTRICT x, float *RESTRICT y)
{
    dense_decoded_f32(32, weight, mask, bias, rows, width, x, y);
}
