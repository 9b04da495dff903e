#include "dense_decoded_f32.h"

/* y = weight x + bias for half-precision weights; bias may be NULL. */
KERNEL void dense_f16(const FLASH uint16_t *RESTRICT weight, REALS bias, size_t rows, size_t width,
                      const float *RESTRICT x, float *RESTRICT y)
{
    dense_decoded_f32(16, weight, NULL, bias, rows, width, x, y);
}
