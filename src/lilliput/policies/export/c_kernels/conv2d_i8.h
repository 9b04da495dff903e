#include "block_sums_i8.h"
#include "conv2d_shape.h"
#include "real_sums.h"
#include "wide_convolution.h"

#if defined(BLOCK_SUMS_I8_DOTS)
#include <immintrin.h>
#define CONV_CODES_PIXELS 7 /* two blocks of sums for each, and the pointers, fit the registers */
/* The 16 outputs of each of `blocks` blocks (a constant: 1 or 2) at several pixels at once, so that a vector of weights is
   read once for all pixels and a code once for all blocks; kernel_width * channels is a multiple of four. */
ALWAYS_INLINE void conv2d_pixels_i8(const conv2d_shape *s, const size_t blocks, const FLASH int8_t *RESTRICT weight,
                                    const uint8_t *const *corners, int32_t zero_point,
                                    int32_t sums[2][CONV_CODES_PIXELS][BLOCK_ROWS])
{
    const size_t run = s->kernel_width * s->channels, line = s->width * s->channels, taps = s->kernel_height * run;
    const int8_t *second = weight + (blocks - 1) * BLOCK_ROWS * taps;
    __m512i t[CONV_CODES_PIXELS], u[CONV_CODES_PIXELS], all_t = _mm512_setzero_si512(), all_u = all_t;
    size_t i, k, p;
    UNROLL for (p = 0; p < CONV_CODES_PIXELS; p++) {
        t[p] = u[p] = _mm512_setzero_si512();
    }
    for (i = 0; i < s->kernel_height; i++) {
        const uint8_t *x[CONV_CODES_PIXELS];
        UNROLL for (p = 0; p < CONV_CODES_PIXELS; p++) {
            x[p] = corners[p] + i * line;
        }
        for (k = 0; k < run; k += 4, weight += 4 * BLOCK_ROWS, second += 4 * BLOCK_ROWS) {
            const __m512i w = _mm512_loadu_si512(weight), v = _mm512_loadu_si512(second);
            UNROLL for (p = 0; p < CONV_CODES_PIXELS; p++) {
                const __m512i four = four_codes(x[p] + k);
                t[p] = _mm512_dpbusd_epi32(t[p], four, w);
                u[p] = blocks == 2 ? _mm512_dpbusd_epi32(u[p], four, v) : u[p];
            }
            if (zero_point != 0) {
                all_t = _mm512_dpbusd_epi32(all_t, _mm512_set1_epi8(1), w);
                all_u = _mm512_dpbusd_epi32(all_u, _mm512_set1_epi8(1), v);
            }
        }
    }
    all_t = _mm512_mullo_epi32(all_t, _mm512_set1_epi32(zero_point));
    all_u = _mm512_mullo_epi32(all_u, _mm512_set1_epi32(zero_point));
    UNROLL for (p = 0; p < CONV_CODES_PIXELS; p++) {
        _mm512_storeu_si512(sums[0][p], _mm512_sub_epi32(t[p], all_t));
        _mm512_storeu_si512(sums[1][p], _mm512_sub_epi32(u[p], all_u));
    }
}

#elif defined(NEON_PIXELS)
#define CONV_CODES_PIXELS NEON_PIXELS
ALWAYS_INLINE void conv2d_pixels_i8(const conv2d_shape *s, const size_t blocks, const int8_t *RESTRICT weight,
                                    const uint8_t *const *corners, int32_t zero_point,
                                    int32_t sums[2][CONV_CODES_PIXELS][BLOCK_ROWS])
{
    const size_t run = s->kernel_width * s->channels, line = s->width * s->channels;
    int32_t some[CONV_CODES_PIXELS][BLOCK_ROWS];
    size_t block, row, p;
    for (block = 0; block < blocks; block++, weight += BLOCK_ROWS * s->kernel_height * run) {
        for (row = 0; row < BLOCK_ROWS; row += 4 * NEON_VECTORS) {
            neon_sums(NEON_VECTORS, NEON_PIXELS, weight + 4 * row, 4 * BLOCK_ROWS, s->kernel_height, run, line, corners,
                      zero_point, some);
            for (p = 0; p < CONV_CODES_PIXELS; p++) {
                memcpy(sums[block][p] + row, some[p], 16 * NEON_VECTORS);
            }
        }
    }
}
#endif

#if defined(CONV_CODES_PIXELS)
/* The convolution where nothing lies around the image, for `blocks` blocks. */
ALWAYS_INLINE void conv2d_blocks_i8(const conv2d_shape *s, const size_t blocks, const FLASH int8_t *RESTRICT weight,
                                    const uint8_t *RESTRICT codes, int32_t zero_point, REALS scale,
                                    size_t scale_step, float input_scale, REALS bias, float *RESTRICT y)
{
    const size_t pixels = s->out_height * s->out_width;
    size_t pixel, p, block;
    for (pixel = 0; pixel < pixels; pixel += CONV_CODES_PIXELS) {
        const uint8_t *corners[CONV_CODES_PIXELS];
        int32_t sums[2][CONV_CODES_PIXELS][BLOCK_ROWS];
        for (p = 0; p < CONV_CODES_PIXELS; p++) { /* beyond the last pixel: the last again */
            const size_t at = pixel + p < pixels ? pixel + p : pixels - 1;
            corners[p] = codes + (at / s->out_width * s->stride_y * s->width + at % s->out_width * s->stride_x) * s->channels;
        }
        conv2d_pixels_i8(s, blocks, weight, corners, zero_point, sums);
        for (block = 0; block < blocks; block++) {
            const size_t first = block * BLOCK_ROWS;
            for (p = 0; p < CONV_CODES_PIXELS && pixel + p < pixels; p++) {
                real_sums(sums[block][p], BLOCK_ROWS, REALS_FROM(scale, first * scale_step), scale_step, input_scale,
                          REALS_FROM_ANY(bias, first), y + (pixel + p) * s->out_step + first);
            }
        }
    }
}
#endif

#if defined(WIDE_PIXELS)
#define WIDE_CODES(wide) (wide)
/* conv2d_i8 by products of 16 bits; `wide` has room for the image with what lies around it and WIDE_PIXELS patches. */
KERNEL void wide_conv2d_i8(const conv2d_shape *s, const int8_t *RESTRICT weight, const uint8_t *RESTRICT codes,
                           int32_t zero_point, int32_t padding, REALS scale, size_t scale_step, float input_scale,
                           REALS bias, float *RESTRICT y, int16_t *RESTRICT wide)
{
    const size_t run = s->kernel_width * s->channels, taps = s->kernel_height * run, step = (taps + 3) / 4 * 4;
    const size_t line = (s->width + 2 * s->pad_x) * s->channels, pixels = s->out_height * s->out_width;
    const int in_place = run % 4 == 0 && s->outputs % BLOCK_ROWS == 0;
    int16_t *const patches = wide + (s->height + 2 * s->pad_y) * line;
    size_t pixel, output, row, p;
    widen_image(s, codes, zero_point, padding, wide);
    for (pixel = 0; pixel < pixels; pixel += WIDE_PIXELS) {
        const int16_t *corners[WIDE_PIXELS];
        const int8_t *block = weight;
        for (p = 0; p < WIDE_PIXELS; p++) { /* beyond the last pixel: the last again */
            const size_t at = pixel + p < pixels ? pixel + p : pixels - 1;
            corners[p] = wide + at / s->out_width * s->stride_y * line + at % s->out_width * s->stride_x * s->channels;
            if (!in_place) {
                copy_patch(s, corners[p], patches + p * step);
            }
        }
        for (output = 0; output < s->outputs; output += BLOCK_ROWS, block += BLOCK_ROWS * taps) {
            const size_t height = s->outputs - output < BLOCK_ROWS ? s->outputs - output : BLOCK_ROWS;
            int32_t sums[WIDE_PIXELS][BLOCK_ROWS];
            if (in_place) {
                for (row = 0; row < BLOCK_ROWS; row += 2 * WIDE_ROWS) {
                    wide_pixel_sums(block + 4 * row, corners, s->kernel_height, run, line, sums, row);
                }
            } else {
                wide_block_sums(WIDE_PIXELS, block, height, taps, patches, step, sums);
            }
            for (p = 0; p < WIDE_PIXELS && pixel + p < pixels; p++) {
                real_sums(sums[p], height, REALS_FROM(scale, output * scale_step), scale_step, input_scale,
                          REALS_FROM_ANY(bias, output), y + (pixel + p) * s->out_step + output);
            }
        }
    }
}
#else
#define WIDE_CODES(wide) NULL
#endif

/* y = the cross-correlation of (codes - zero_point) with weight, times (scale * input_scale), plus bias; channels last.
   Around the image lies `padding`, the code of zero. A scale step of 0 means one scale for all; bias may be NULL. `wide`:
   see wide_conv2d_i8. */
KERNEL void conv2d_i8(const conv2d_shape *s, const FLASH int8_t *RESTRICT weight, const uint8_t *RESTRICT codes,
                      int32_t zero_point, int32_t padding, REALS scale, size_t scale_step,
                      float input_scale, REALS bias, float *RESTRICT y, int16_t *RESTRICT wide)
{
    const size_t taps = s->kernel_height * s->kernel_width * s->channels;
    size_t output, row, column, i, j, k;
#if defined(WIDE_PIXELS)
    const int fits = !(s->pad_x || s->pad_y) || (padding - zero_point == (int16_t)(padding - zero_point));
#if defined(CONV_CODES_PIXELS)
    const int is_left = s->outputs % BLOCK_ROWS || s->pad_x || s->pad_y || s->kernel_width * s->channels % 4;
#else
    const int is_left = 1;
#endif
    if (fits && is_left) {
        wide_conv2d_i8(s, weight, codes, zero_point, padding, scale, scale_step, input_scale, bias, y, wide);
        return;
    }
#endif
    (void)wide;
    for (output = 0; output < s->outputs; output += BLOCK_ROWS, weight += BLOCK_ROWS * taps) {
        const size_t height = s->outputs - output < BLOCK_ROWS ? s->outputs - output : BLOCK_ROWS;
        REALS scales = REALS_FROM(scale, output * scale_step);
        REALS biases = REALS_FROM_ANY(bias, output);
#if defined(CONV_CODES_PIXELS)
#if defined(__GNUC__) /* gcc sees how long they are but not how many outputs there are, and would warn */
        __asm__("" : "+r"(scales), "+r"(biases));
#endif
        if (height == BLOCK_ROWS && s->pad_x == 0 && s->pad_y == 0 && s->kernel_width * s->channels % 4 == 0) {
            if (s->outputs - output >= 2 * BLOCK_ROWS) {
                conv2d_blocks_i8(s, 2, weight, codes, zero_point, scales, scale_step, input_scale, biases, y + output);
                output += BLOCK_ROWS;
                weight += BLOCK_ROWS * taps;
            } else {
                conv2d_blocks_i8(s, 1, weight, codes, zero_point, scales, scale_step, input_scale, biases, y + output);
            }
            continue;
        }
#endif
        for (row = 0; row < s->out_height; row++) {
            for (column = 0; column < s->out_width; column++) {
                int32_t sums[MOST_ROWS] = {0};
                size_t tap = 0;
                for (i = 0; i < s->kernel_height; i++) {
                    const size_t from_y = row * s->stride_y + i - s->pad_y; /* wraps to a large number above the image */
                    for (j = 0; j < s->kernel_width; j++) {
                        const size_t from_x = column * s->stride_x + j - s->pad_x;
                        const int inside = from_y < s->height && from_x < s->width;
                        const size_t at = (from_y * s->width + from_x) * s->channels;
                        for (k = 0; k < s->channels; k++, tap++) {
                            const int32_t code = (inside ? codes[at + k] : padding) - zero_point;
                            const size_t group = tap / 4 * 4, columns = taps - group < 4 ? taps - group : 4;
                            const FLASH int8_t *w = weight + group * height + tap % 4;
                            size_t output_row;
                            for (output_row = 0; output_row < height; output_row++) {
                                sums[output_row] += w[output_row * columns] * code;
                            }
                        }
                    }
                }
                real_sums(sums, height, scales, scale_step, input_scale, biases, y + (row * s->out_width + column) * s->out_step + output);
            }
        }
    }
}
