#include "core.h"

/* Integer sums on Arm processors with NEON: four rows of four columns are one vector of weights. NEON multiplies signed
   by signed, so codes count from 128, and what that takes from a sum is put back with the sum of the row's weights. */
#if defined(__ARM_NEON) && defined(__aarch64__)
#include <arm_neon.h>

#if defined(__ARM_FEATURE_DOTPROD)
#define NEON_LANES 1
ALWAYS_INLINE void add_products(int32x4_t *sum, int8x16_t weight, int8x16_t codes)
{
    *sum = vdotq_s32(*sum, weight, codes);
}
#else
#define NEON_LANES 2 /* two sums of two columns each a row, added in the end */
ALWAYS_INLINE void add_products(int32x4_t *sum, int8x16_t weight, int8x16_t codes)
{
    sum[0] = vpadalq_s16(sum[0], vmull_s8(vget_low_s8(weight), vget_low_s8(codes)));
    sum[1] = vpadalq_s16(sum[1], vmull_high_s8(weight, codes));
}
#endif

ALWAYS_INLINE int32x4_t whole_sums(const int32x4_t *sum)
{
    return NEON_LANES == 1 ? sum[0] : vpaddq_s32(sum[0], sum[NEON_LANES - 1]);
}

KERNEL void block_sums_i8_neon(const int8_t *RESTRICT weight, size_t rows, size_t width, const uint8_t *RESTRICT codes,
                               int32_t zero_point, int32_t *RESTRICT sums)
{
    const size_t whole = width - width % 4, stride = 4 * rows, fours = rows - rows % 4;
    const int8x16_t ones = vdupq_n_s8(1);
    size_t row, i, k;
    for (row = 0; row < fours; row += 4) {
        const int8_t *w = weight + 4 * row;
        int32x4_t products[NEON_LANES], weights[NEON_LANES];
        for (k = 0; k < NEON_LANES; k++) {
            products[k] = weights[k] = vdupq_n_s32(0);
        }
        for (i = 0; i < whole; i += 4, w += stride) {
            const int8x16_t block = vld1q_s8(w);
            uint32_t four;
            memcpy(&four, codes + i, 4);
            add_products(products, block, vreinterpretq_s8_u32(vdupq_n_u32(four ^ 0x80808080u)));
            add_products(weights, block, ones);
        }
        vst1q_s32(sums + row, vmlaq_n_s32(whole_sums(products), whole_sums(weights), 128 - zero_point));
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
#undef NEON_LANES
#endif
