#include "wide_products.h"

#if defined(__SSE2__)
/* The sums of a block of weights at P (a constant) inputs at once; their codes, of 16 bits with zeros up to a multiple of
   four, are `step` apart. */
ALWAYS_INLINE void wide_block_sums(const size_t P, const int8_t *RESTRICT weight, size_t rows, size_t width,
                                   const int16_t *RESTRICT codes, size_t step, int32_t sums[][BLOCK_ROWS])
{
    size_t row, i, p;
    for (row = 0; row < rows; row += 2 * WIDE_ROWS) {
        const size_t whole = 4 * whole_groups(rows, width, row, 8 * WIDE_ROWS);
        const int8_t *w = weight + 4 * row;
        int8_t group[8 * WIDE_ROWS];
        wide_vector s[8], t[8];
        UNROLL for (p = 0; p < P; p++) {
            s[p] = t[p] = WIDE_ZERO;
        }
        for (i = 0; i < width; i += 4, w += 4 * rows) {
            wide_vector v, u;
            if (i >= whole) {
                copy_group(weight, rows, width, i, row, group);
                w = group;
            }
            v = wide_weights(w);
            u = wide_weights(w + 4 * WIDE_ROWS);
            UNROLL for (p = 0; p < P; p++) {
                const wide_vector four = four_wide_codes(codes + p * step + i);
                s[p] = add_wide_products(s[p], v, four);
                t[p] = add_wide_products(t[p], u, four);
                IN_REGISTER(s[p]); /* one pixel after the other: there are registers for no more */
                IN_REGISTER(t[p]);
            }
        }
        UNROLL for (p = 0; p < P; p++) {
            store_pairs(s[p], t[p], sums[p] + row);
        }
    }
}
#endif
