#include "next_weight.h"

#if LILLIPUT_SOFT_FLOATS && MOST_ROWS <= 8
#define FEW_SUMS 1
/* The sums of a block of few rows, whose columns stand four by four, of the products of codes of 8 or fewer bits and codes
   less `zero_point`: one by one, on half of the stack that several at a time take. */
ALWAYS_INLINE void few_sums(const unsigned bits, const FLASH void *RESTRICT values, size_t rows, size_t width,
                            const uint8_t *RESTRICT codes, int32_t zero_point, int32_t *RESTRICT sums)
{
    weight_place place = {0, 0, 0};
    size_t row, column, k;
    for (row = 0; row < rows; row++) {
        sums[row] = 0;
    }
    for (column = 0; column < width; column += 4, codes += 4) {
        const size_t n = width - column < 4 ? width - column : 4;
        for (row = 0; row < rows; row++) {
            for (k = 0; k < n; k++) {
                sums[row] += next_code(bits, values, &place) * (codes[k] - zero_point);
            }
        }
    }
}
#endif
