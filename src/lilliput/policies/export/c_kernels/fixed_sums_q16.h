#include "next_weight.h"

/* sums = weight x, of weights of `bits` bits (8 or fewer) row after row and x in units of 2^-16; the sums in units of
   2^-fraction, saturated to `limit` whole units. Both halves of x are multiplied apart: no product needs 64 bits. */
KERNEL void fixed_sums_q16(const unsigned bits, const FLASH void *RESTRICT weight, size_t rows, size_t width,
                           const int32_t *RESTRICT x, const int fraction, const int32_t limit, int32_t *RESTRICT sums)
{
    weight_place place = {0, 0, 0};
    size_t row, i;
    for (row = 0; row < rows; row++) {
        int32_t whole = 0, part = 0; /* in units of 1 and of 2^-16 */
        for (i = 0; i < width; i++) {
            const int32_t w = next_code(bits, weight, &place);
            whole += w * (x[i] >> 16);
            part += w * (x[i] & 0xffff);
        }
        whole += part >> 16;
        part &= 0xffff;
        if (whole >= limit || whole < -limit) {
            whole = whole < 0 ? -limit : limit;
            part = 0;
        }
        sums[row] = whole * ((int32_t)1 << fraction) + (part >> (16 - fraction));
    }
}
