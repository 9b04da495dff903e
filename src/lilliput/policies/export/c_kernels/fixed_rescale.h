#include "high_product.h"

/* x = x * scale + offset, all in units of 2^-16, of x below 2 in size and scales below 2^13; a step of 0 means one number
   for all. */
KERNEL void fixed_rescale(int32_t *x, size_t n, const FLASH int32_t *RESTRICT scale, size_t scale_step,
                          const FLASH int32_t *RESTRICT offset, size_t offset_step)
{
    size_t i;
    for (i = 0; i < n; i++) {
        x[i] = high_product(x[i] * 16384, scale[i * scale_step] * 4) + offset[i * offset_step];
    }
}
