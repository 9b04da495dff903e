#include "dense_decoded_f32.h"

/* y = weight x + bias for half-precision weights without their zeros; bias may be NULL. */
KERNEL void bitmask_f16(const FLASH uint16_t *RESTRICT weight, const FLASH uint8_t *RESTRICT mask, REALS bias,
                        size_t rows, size_t width, const float *RESTRICT x, float *RESTRICT y)
{
    dense_decoded_f32(16, weight, mask, bias, rows, width, x, y);
}
