#include "core.h"

/* Integer sums on Arm processors with NEON: four rows of four columns are one vector of weights. NEON multiplies signed
   by signed, so codes count from 128, and what that takes from a sum is put back with the sum of the row's weights; the
   matrix extension multiplies signed by unsigned. */
#if defined(__ARM_NEON) && defined(__aarch64__)
#include <arm_neon.h>

#define NEON_PIXELS 4 /* observations or pixels at once, at most */
#if defined(__ARM_FEATURE_DOTPROD)
#define NEON_VECTORS 4 /* of weights, whose sums for all pixels fit the registers */
#define NEON_LANES 1
ALWAYS_INLINE void add_weights(int32x4_t *sum, int8x16_t weight)
{
    *sum = vdotq_s32(*sum, weight, vdupq_n_s8(1));
}
#else
#define NEON_VECTORS 2
#define NEON_LANES 2 /* two sums of two columns each a row, added in the end */
ALWAYS_INLINE void add_weights(int32x4_t *sum, int8x16_t weight)
{
    *sum = vpadalq_s16(*sum, vpaddlq_s8(weight));
}
#endif

#if defined(__ARM_FEATURE_DOTPROD) && defined(__ARM_FEATURE_MATMUL_INT8)
#define CODES_FROM 0
#else
#define CODES_FROM 128
#endif

/* Four codes in each row's place. */
ALWAYS_INLINE uint8x16_t repeated_codes(const uint8_t *codes)
{
    uint32_t four;
    memcpy(&four, codes, 4);
    return vreinterpretq_u8_u32(vdupq_n_u32(CODES_FROM ? four ^ 0x80808080u : four));
}

ALWAYS_INLINE void add_products(int32x4_t *sum, int8x16_t weight, uint8x16_t codes)
{
#if !CODES_FROM
    *sum = vusdotq_s32(*sum, codes, weight);
#elif defined(__ARM_FEATURE_DOTPROD)
    *sum = vdotq_s32(*sum, weight, vreinterpretq_s8_u8(codes));
#else
    const int8x16_t x = vreinterpretq_s8_u8(codes);
    sum[0] = vpadalq_s16(sum[0], vmull_s8(vget_low_s8(weight), vget_low_s8(x)));
    sum[1] = vpadalq_s16(sum[1], vmull_high_s8(weight, x));
#endif
}

/* The sums of V vectors of rows (a constant), the next columns `stride` bytes further, for P pixels (a constant) whose
   codes stand in `lines` lines of `run` codes, a multiple of four, `line` codes apart. */
ALWAYS_INLINE void neon_sums(const size_t V, const size_t P, const int8_t *RESTRICT weight, size_t stride, size_t lines,
                             size_t run, size_t line, const uint8_t *const *codes, int32_t zero_point,
                             int32_t (*sums)[BLOCK_ROWS])
{
    int32x4_t products[NEON_PIXELS][4][NEON_LANES], weights[4];
    size_t i, k, p, v;
    UNROLL for (v = 0; v < V; v++) {
        weights[v] = vdupq_n_s32(0);
        UNROLL for (p = 0; p < P; p++) {
            products[p][v][0] = vdupq_n_s32(0);
            products[p][v][NEON_LANES - 1] = vdupq_n_s32(0);
        }
    }
    for (i = 0; i < lines; i++) {
        for (k = 0; k < run; k += 4, weight += stride) {
            int8x16_t w[4];
            UNROLL for (v = 0; v < V; v++) {
                w[v] = vld1q_s8(weight + 16 * v);
            }
            UNROLL for (p = 0; p < P; p++) {
                const uint8x16_t four = repeated_codes(codes[p] + i * line + k);
                UNROLL for (v = 0; v < V; v++) {
                    add_products(products[p][v], w[v], four);
                }
            }
            if (zero_point != CODES_FROM) {
                UNROLL for (v = 0; v < V; v++) {
                    add_weights(&weights[v], w[v]);
                }
            }
        }
    }
    UNROLL for (p = 0; p < P; p++) {
        UNROLL for (v = 0; v < V; v++) {
            const int32x4_t *const sum = products[p][v];
            const int32x4_t all = NEON_LANES == 1 ? sum[0] : vpaddq_s32(sum[0], sum[NEON_LANES - 1]);
            vst1q_s32(sums[p] + 4 * v, vmlaq_n_s32(all, weights[v], CODES_FROM - zero_point));
        }
    }
}

KERNEL void block_sums_i8_neon(const int8_t *RESTRICT weight, size_t rows, size_t width, const uint8_t *codes,
                               int32_t zero_point, int32_t *RESTRICT sums)
{
    const size_t whole = width - width % 4, stride = 4 * rows, fours = rows - rows % 4;
    int32_t some[1][BLOCK_ROWS];
    size_t row, i, k;
    if (rows == BLOCK_ROWS) {
        neon_sums(4, 1, weight, 4 * BLOCK_ROWS, 1, whole, 0, &codes, zero_point, some);
        memcpy(sums, some[0], sizeof some[0]);
    } else {
        for (row = 0; row < fours; row += 4) {
            neon_sums(1, 1, weight + 4 * row, stride, 1, whole, 0, &codes, zero_point, some);
            memcpy(sums + row, some[0], 16);
        }
    }
    for (row = fours; row < rows; row++) {
        const int8_t *w = weight + 4 * row;
        sums[row] = 0;
        for (i = 0; i < whole; i += 4, w += stride) {
            for (k = 0; k < 4; k++) {
                sums[row] += w[k] * (codes[i + k] - zero_point);
            }
        }
    }
    weight += whole * rows;
    for (row = 0; row < rows; row++) {
        for (i = whole; i < width; i++) {
            sums[row] += *weight++ * (codes[i] - zero_point);
        }
    }
}
#endif
