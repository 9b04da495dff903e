#include "conv2d_shape.h"
#include "wide_block_sums.h"

#if defined(__SSE2__)
/* Convolutions of codes on x86: several pixels at once, so that a vector of weights is read and widened once for all. */
#define WIDE_PIXELS 6 /* two vectors of sums for each, two of weights and one of codes fit the registers */

/* Image codes less the zero point, with what lies around the image. */
KERNEL void widen_image(const conv2d_shape *s, const uint8_t *RESTRICT codes, int32_t zero_point, int32_t padding,
                        int16_t *RESTRICT wide)
{
    const size_t line = s->width * s->channels, left = s->pad_x * s->channels, whole = line + 2 * left;
    const int16_t around = (int16_t)(padding - zero_point);
    size_t row, i;
    for (row = 0; row < s->height + 2 * s->pad_y; row++, wide += whole) {
        if (row < s->pad_y || row >= s->height + s->pad_y) {
            for (i = 0; i < whole; i++) {
                wide[i] = around;
            }
            continue;
        }
        for (i = 0; i < left; i++) {
            wide[i] = wide[left + line + i] = around;
        }
        for (i = 0; i < line; i++) {
            wide[left + i] = (int16_t)(codes[i] - zero_point);
        }
        codes += line;
    }
}

/* 2 * WIDE_ROWS outputs at several pixels: `lines` lines of `run` codes, a multiple of four, `line` apart from each corner on. */
ALWAYS_INLINE void wide_pixel_sums(const int8_t *RESTRICT weight, const int16_t *const *corners, size_t lines, size_t run,
                                   size_t line, int32_t sums[WIDE_PIXELS][BLOCK_ROWS], size_t row)
{
    wide_vector s[WIDE_PIXELS], t[WIDE_PIXELS];
    size_t i, k, p;
    UNROLL for (p = 0; p < WIDE_PIXELS; p++) {
        s[p] = t[p] = WIDE_ZERO;
    }
    for (i = 0; i < lines; i++) {
        const int16_t *x[WIDE_PIXELS];
        UNROLL for (p = 0; p < WIDE_PIXELS; p++) {
            x[p] = corners[p] + i * line;
        }
        for (k = 0; k < run; k += 4, weight += 4 * BLOCK_ROWS) {
            const wide_vector w = wide_weights(weight), v = wide_weights(weight + 4 * WIDE_ROWS);
            UNROLL for (p = 0; p < WIDE_PIXELS; p++) {
                const wide_vector four = four_wide_codes(x[p] + k);
                s[p] = add_wide_products(s[p], w, four);
                t[p] = add_wide_products(t[p], v, four);
                IN_REGISTER(s[p]); /* one pixel after the other: there are registers for no more */
                IN_REGISTER(t[p]);
            }
        }
    }
    UNROLL for (p = 0; p < WIDE_PIXELS; p++) {
        store_pairs(s[p], t[p], sums[p] + row);
    }
}

/* What a pixel multiplies, side by side: zeros up to a multiple of four. */
KERNEL void copy_patch(const conv2d_shape *s, const int16_t *corner, int16_t *RESTRICT patch)
{
    const size_t run = s->kernel_width * s->channels, line = (s->width + 2 * s->pad_x) * s->channels;
    size_t i, k, n = 0;
    for (i = 0; i < s->kernel_height; i++, corner += line) {
        for (k = 0; k < run; k++) {
            patch[n++] = corner[k];
        }
    }
    for (; n % 4; n++) {
        patch[n] = 0;
    }
}
#endif
