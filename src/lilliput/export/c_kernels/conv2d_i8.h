#include "block_sums_i8.h"
#include "conv2d_shape.h"
#include "real_sums.h"

#if defined(__AVX512VNNI__) && defined(__AVX512BW__)
#include <immintrin.h>
#define CONV_CODES_PIXELS 10
/* The 16 outputs of a block at several pixels at once; kernel_width * channels is a multiple of four. */
KERNEL void conv2d_pixels_i8(const conv2d_shape *s, const int8_t *RESTRICT weight, const uint8_t *const *corners,
                             int32_t zero_point, int32_t sums[CONV_CODES_PIXELS][BLOCK_ROWS])
{
    const size_t run = s->kernel_width * s->channels, line = s->width * s->channels;
    __m512i t[CONV_CODES_PIXELS], all = _mm512_setzero_si512();
    size_t i, k, p;
    UNROLL for (p = 0; p < CONV_CODES_PIXELS; p++) {
        t[p] = _mm512_setzero_si512();
    }
    for (i = 0; i < s->kernel_height; i++) {
        const uint8_t *x[CONV_CODES_PIXELS];
        UNROLL for (p = 0; p < CONV_CODES_PIXELS; p++) {
            x[p] = corners[p] + i * line;
        }
        for (k = 0; k < run; k += 4, weight += 4 * BLOCK_ROWS) {
            const __m512i w = _mm512_loadu_si512(weight);
            UNROLL for (p = 0; p < CONV_CODES_PIXELS; p++) {
                int32_t four;
                memcpy(&four, x[p] + k, 4);
                t[p] = _mm512_dpbusd_epi32(t[p], _mm512_set1_epi32(four), w);
            }
            all = _mm512_dpbusd_epi32(all, _mm512_set1_epi8(1), w);
        }
    }
    all = _mm512_mullo_epi32(all, _mm512_set1_epi32(zero_point));
    UNROLL for (p = 0; p < CONV_CODES_PIXELS; p++) {
        _mm512_storeu_si512(sums[p], _mm512_sub_epi32(t[p], all));
    }
}
#endif

/* y = the cross-correlation of (codes - zero_point) with weight, times (scale * input_scale), plus bias; channels last.
   Around the image lies `padding`, the code of zero. A scale step of 0 means one scale for all; bias may be NULL. */
KERNEL void conv2d_i8(const conv2d_shape *s, const int8_t *RESTRICT weight, const uint8_t *RESTRICT codes,
                      int32_t zero_point, int32_t padding, const float *RESTRICT scale, size_t scale_step,
                      float input_scale, const float *RESTRICT bias, float *RESTRICT y)
{
    const size_t taps = s->kernel_height * s->kernel_width * s->channels;
    size_t output, row, column, i, j, k;
    for (output = 0; output < s->outputs; output += BLOCK_ROWS, weight += BLOCK_ROWS * taps) {
        const size_t height = s->outputs - output < BLOCK_ROWS ? s->outputs - output : BLOCK_ROWS;
        const float *scales = scale + output * scale_step, *biases = bias ? bias + output : bias;
#if defined(CONV_CODES_PIXELS)
        if (height == BLOCK_ROWS && s->pad_x == 0 && s->pad_y == 0 && s->kernel_width * s->channels % 4 == 0) {
            const size_t pixels = s->out_height * s->out_width;
            size_t pixel, p;
            for (pixel = 0; pixel < pixels; pixel += CONV_CODES_PIXELS) {
                const uint8_t *corners[CONV_CODES_PIXELS];
                int32_t sums[CONV_CODES_PIXELS][BLOCK_ROWS];
                for (p = 0; p < CONV_CODES_PIXELS; p++) { /* beyond the last pixel: the last again */
                    const size_t at = pixel + p < pixels ? pixel + p : pixels - 1;
                    corners[p] = codes + (at / s->out_width * s->stride_y * s->width + at % s->out_width * s->stride_x) * s->channels;
                }
                conv2d_pixels_i8(s, weight, corners, zero_point, sums);
                for (p = 0; p < CONV_CODES_PIXELS && pixel + p < pixels; p++) {
                    real_sums(sums[p], BLOCK_ROWS, scales, scale_step, input_scale, biases, y + (pixel + p) * s->out_step + output);
                }
            }
            continue;
        }
#endif
        for (row = 0; row < s->out_height; row++) {
            for (column = 0; column < s->out_width; column++) {
                int32_t sums[BLOCK_ROWS] = {0};
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
                            const int8_t *w = weight + group * height + tap % 4;
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
