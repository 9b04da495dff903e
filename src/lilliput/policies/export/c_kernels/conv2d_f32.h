#include "block_sums_f32.h"
#include "conv2d_shape.h"
#include "some_floats.h"
#include "stored.h"
#include "x86.h"

#if defined(__AVX512F__)
#define CONV_PIXELS 10 /* as many sums, and pointers, as there are registers for */
/* The 16 outputs of a block at several pixels at once, so that each weight is read once for all of them. */
KERNEL void conv2d_pixels_f32(const conv2d_shape *s, const FLASH float *RESTRICT weight, const float *const *corners,
                              float sums[CONV_PIXELS][BLOCK_ROWS])
{
    const size_t run = s->kernel_width * s->channels, line = s->width * s->channels;
    __m512 t[CONV_PIXELS];
    size_t i, k, p;
    UNROLL for (p = 0; p < CONV_PIXELS; p++) {
        t[p] = _mm512_setzero_ps();
    }
    for (i = 0; i < s->kernel_height; i++) {
        const float *x[CONV_PIXELS];
        UNROLL for (p = 0; p < CONV_PIXELS; p++) {
            x[p] = corners[p] + i * line;
        }
        for (k = 0; k < run; k++, weight += BLOCK_ROWS) {
            const __m512 w = _mm512_loadu_ps(weight);
            UNROLL for (p = 0; p < CONV_PIXELS; p++) {
                t[p] = _mm512_fmadd_ps(w, _mm512_set1_ps(x[p][k]), t[p]);
            }
        }
    }
    UNROLL for (p = 0; p < CONV_PIXELS; p++) {
        _mm512_storeu_ps(sums[p], t[p]);
    }
}
#elif defined(LANES)
#define CONV_PIXELS 6 /* two vectors of sums for each, two of weights and one of numbers fit the registers */
/* 2 * LANES outputs of a block at several pixels at once, so that each weight is read once for all of them. */
OUT_OF_LINE void conv2d_some_pixels_f32(const conv2d_shape *s, const FLASH float *RESTRICT weight,
                                        const float *const *corners, float sums[CONV_PIXELS][BLOCK_ROWS], size_t row)
{
    const size_t run = s->kernel_width * s->channels, line = s->width * s->channels;
    some_floats t[CONV_PIXELS], u[CONV_PIXELS];
    size_t i, k, p;
    weight += row;
    UNROLL for (p = 0; p < CONV_PIXELS; p++) {
        t[p] = u[p] = EACH(0.0f);
    }
    for (i = 0; i < s->kernel_height; i++) {
        const float *x[CONV_PIXELS];
        UNROLL for (p = 0; p < CONV_PIXELS; p++) {
            x[p] = corners[p] + i * line;
        }
        for (k = 0; k < run; k++, weight += BLOCK_ROWS) {
            const some_floats v = LOAD_SOME(weight), w = LOAD_SOME(weight + LANES);
            UNROLL for (p = 0; p < CONV_PIXELS; p++) {
                const some_floats value = EACH(x[p][k]);
                t[p] = MULTIPLY_ADD_SOME(v, value, t[p]);
                u[p] = MULTIPLY_ADD_SOME(w, value, u[p]);
            }
        }
    }
    UNROLL for (p = 0; p < CONV_PIXELS; p++) {
        STORE_SOME(sums[p] + row, t[p]);
        STORE_SOME(sums[p] + row + LANES, u[p]);
    }
}

KERNEL void conv2d_pixels_f32(const conv2d_shape *s, const FLASH float *RESTRICT weight, const float *const *corners,
                              float sums[CONV_PIXELS][BLOCK_ROWS])
{
    size_t row;
    for (row = 0; row < BLOCK_ROWS; row += 2 * LANES) {
        conv2d_some_pixels_f32(s, weight, corners, sums, row);
    }
}
#endif

/* y = the cross-correlation of x with weight, plus bias (which may be NULL); zeros around x; channels last. */
KERNEL void conv2d_f32(const conv2d_shape *s, const FLASH float *RESTRICT weight, REALS bias,
                       const float *RESTRICT x, float *RESTRICT y)
{
    const size_t taps = s->kernel_height * s->kernel_width * s->channels;
    size_t output, row, column, i, k;
    for (output = 0; output < s->outputs; output += BLOCK_ROWS, weight += BLOCK_ROWS * taps) {
        const size_t height = s->outputs - output < BLOCK_ROWS ? s->outputs - output : BLOCK_ROWS;
#if defined(CONV_PIXELS)
        if (height == BLOCK_ROWS && s->pad_x == 0 && s->pad_y == 0) {
            const size_t pixels = s->out_height * s->out_width;
            size_t pixel, p;
            for (pixel = 0; pixel < pixels; pixel += CONV_PIXELS) {
                const float *corners[CONV_PIXELS];
                float sums[CONV_PIXELS][BLOCK_ROWS];
                for (p = 0; p < CONV_PIXELS; p++) { /* beyond the last pixel: the last again */
                    const size_t at = pixel + p < pixels ? pixel + p : pixels - 1;
                    corners[p] = x + (at / s->out_width * s->stride_y * s->width + at % s->out_width * s->stride_x) * s->channels;
                }
                conv2d_pixels_f32(s, weight, corners, sums);
                for (p = 0; p < CONV_PIXELS && pixel + p < pixels; p++) {
                    float *to = y + (pixel + p) * s->out_step + output;
                    for (k = 0; k < BLOCK_ROWS; k++) {
                        to[k] = ANY(bias) ? sums[p][k] + REAL(bias, output + k) : sums[p][k];
                    }
                }
            }
            continue;
        }
#endif
        for (row = 0; row < s->out_height; row++) {
            for (column = 0; column < s->out_width; column++) {
                float *to = y + (row * s->out_width + column) * s->out_step + output;
                float sums[MOST_ROWS] = {0.0f};
                size_t first, end;
                columns_inside(s, column, &first, &end);
                for (i = 0; i < s->kernel_height; i++) {
                    const size_t from_y = row * s->stride_y + i - s->pad_y; /* wraps to a large number above the image */
                    const FLASH float *w = weight + (i * s->kernel_width + first) * s->channels * height;
                    const size_t run = (end - first) * s->channels;
                    if (from_y < s->height && run) {
                        const float *line = x + (from_y * s->width + column * s->stride_x + first - s->pad_x) * s->channels;
                        if (MOST_ROWS == BLOCK_ROWS && height == BLOCK_ROWS) {
                            block_sums_f32(BLOCK_ROWS, w, BLOCK_ROWS, run, line, sums);
                        } else {
                            last_sums_f32(w, height, run, line, sums);
                        }
                    }
                }
                for (k = 0; k < height; k++) {
                    to[k] = ANY(bias) ? sums[k] + REAL(bias, output + k) : sums[k];
                }
            }
        }
    }
}
