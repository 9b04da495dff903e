#include "dense_decoded_i8.h"

/* dense_i8 for packed weights of 2 to 7 bits without their zeros. */
KERNEL void bitmask_packed(const FLASH uint8_t *RESTRICT weight, unsigned bits, const FLASH uint8_t *RESTRICT mask, size_t rows,
                           size_t width, const uint8_t *RESTRICT codes, int32_t zero_point,
                           REALS scale, size_t scale_step, float input_scale,
                           REALS bias, float *RESTRICT y)
{
    dense_decoded_i8(bits, weight, mask, rows, width, codes, zero_point, scale, scale_step, input_scale, bias, y);
}
