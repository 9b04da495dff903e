#include "dense_decoded_f32.h"

/* y = weight x + bias for weights that are packed codes of 2 to 7 bits; bias may be NULL. */
KERNEL void dense_packed_f32(const FLASH uint8_t *RESTRICT weight, unsigned bits, REALS bias, size_t rows,
                             size_t width, const float *RESTRICT x, float *RESTRICT y)
{
    dense_decoded_f32(bits, weight, NULL, bias, rows, width, x, y);
}
