#include "dense_decoded_f32.h"

/* y = weight x + bias for weights that are packed codes of 2 to 7 bits, without their zeros; bias may be NULL. */
KERNEL void bitmask_packed_f32(const FLASH uint8_t *RESTRICT weight, unsigned bits, const FLASH uint8_t *RESTRICT mask,
                               REALS bias, size_t rows, size_t width, const float *RESTRICT x,
                               float *RESTRICT y)
{
    dense_decoded_f32(bits, weight, mask, bias, rows, width, x, y);
}
