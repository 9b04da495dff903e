#include "few_sums.h"

/* Static layers in integers: 8-bit weights, in blocks of 16 rows whose columns stand four by four, and codes.

   LILLIPUT_PAIRS: two neighbouring weights w0, w1 are one number of 16 bits, h = 256 w1 + w0, and two neighbouring codes
   are x1 and z = 256 x0 - x1. Then h x1 + w0 z = 256 (w0 x0 + w1 x1): three instructions for four products, with the sum
   in 256ths. x0 counts from 128 and x1 from 255, so that z fits 16 bits; what that takes from a sum is in the constants.
   Sums wrap, which does no harm: the last one fits, as the exporter has made sure. */
#if LILLIPUT_INTEGERS && defined(__ARM_FEATURE_DSP) && defined(__OPTIMIZE__) && !defined(__aarch64__)
#define LILLIPUT_PAIRS 1
typedef int16_t weight_code;
#define W4(a, b, c, d) (int16_t)(256 * (b) + (a)), (int16_t)(256 * (d) + (c))
#define W3(a, b, c) W4(a, b, c, 0)
#define W2(a, b) W4(a, b, 0, 0)
#define W1(a) W4(a, 0, 0, 0)
#define BY_COUNT(from_zero, from_centre) (from_centre)
#define SUM_SHIFT 8
#else
#define LILLIPUT_PAIRS 0
typedef int8_t weight_code;
#define W4(a, b, c, d) (a), (b), (c), (d)
#define W3(a, b, c) (a), (b), (c)
#define W2(a, b) (a), (b)
#define W1(a) (a)
#define BY_COUNT(from_zero, from_centre) (from_zero)
#define SUM_SHIFT 0
#endif

#if LILLIPUT_PAIRS
#include <arm_acle.h>

/* Four codes become two words: the odd ones as they are, then the even ones times 256 less the odd ones. */
KERNEL const uint32_t *integer_input(const uint8_t *RESTRICT codes, size_t width, uint32_t *RESTRICT pairs)
{
    size_t i;
    for (i = 0; i < width; i += 4) {
        uint32_t four, even, odd;
        memcpy(&four, codes + i, 4);
        even = (uint32_t)__uxtb16((uint8x4_t)four);
        odd = (uint32_t)__uxtb16((uint8x4_t)(four >> 8 | four << 24));
        odd = (uint32_t)__ssub16((int16x2_t)odd, (int16x2_t)0x00ff00ffu);
        even = (uint32_t)__ssub16((int16x2_t)(even << 8 ^ 0x80008000u), (int16x2_t)odd);
        *pairs++ = odd;
        *pairs++ = even;
    }
    return pairs - 2 * ((width + 3) / 4);
}

/* Four rows; the next four columns of a row stand `stride` bytes further. By hand: compilers load words one by one. */
ALWAYS_INLINE void four_integer_sums(const FLASH weight_code *weight, size_t stride, const uint32_t *x, const uint32_t *end,
                                     int32_t *sums)
{
    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    uint32_t odd, even;
#define FOUR_COLUMNS \
    "ldmia %[w], {r4, r5, r6, r8}\n" \
    "ldrd %[odd], %[even], [%[x]], #8\n" \
    "add %[w], %[w], %[stride]\n" \
    "smlad %[s0], r4, %[odd], %[s0]\n" \
    "sxtb16 r4, r4\n" \
    "smlad %[s1], r5, %[odd], %[s1]\n" \
    "sxtb16 r5, r5\n" \
    "smlad %[s2], r6, %[odd], %[s2]\n" \
    "sxtb16 r6, r6\n" \
    "smlad %[s3], r8, %[odd], %[s3]\n" \
    "sxtb16 r8, r8\n" \
    "smlad %[s0], r4, %[even], %[s0]\n" \
    "smlad %[s1], r5, %[even], %[s1]\n" \
    "smlad %[s2], r6, %[even], %[s2]\n" \
    "smlad %[s3], r8, %[even], %[s3]\n"
#define ON_FOUR_SUMS(columns) \
    __asm__(columns \
            : [s0] "+r"(s0), [s1] "+r"(s1), [s2] "+r"(s2), [s3] "+r"(s3), [w] "+r"(weight), [x] "+r"(x), \
              [odd] "=&r"(odd), [even] "=&r"(even) \
            : [stride] "rI"(stride) \
            : "r4", "r5", "r6", "r8", "memory")
    const uint32_t *const fours = end - ((end - x) & 7);
    while (x != fours) {
        ON_FOUR_SUMS(FOUR_COLUMNS FOUR_COLUMNS FOUR_COLUMNS FOUR_COLUMNS);
    }
    while (x != end) {
        ON_FOUR_SUMS(FOUR_COLUMNS);
    }
#undef ON_FOUR_SUMS
#undef FOUR_COLUMNS
    sums[0] = s0;
    sums[1] = s1;
    sums[2] = s2;
    sums[3] = s3;
}

/* The sums of a block of `rows` rows, at most 16; moves `weight` to the next block. */
KERNEL void integer_sums(const FLASH weight_code **weight, size_t rows, size_t width, const uint32_t *x, int32_t *sums)
{
    const uint32_t *const end = x + (width + 3) / 4 * 2;
    const FLASH weight_code *const first = *weight;
    size_t row;
    *weight += (width + 3) / 4 * 2 * rows;
    if (rows == BLOCK_ROWS) { /* a constant stride, which saves a register */
        for (row = 0; row < BLOCK_ROWS; row += 4) {
            four_integer_sums(first + 2 * row, 4 * BLOCK_ROWS, x, end, sums + row);
        }
        return;
    }
    for (row = 0; row + 4 <= rows; row += 4) {
        four_integer_sums(first + 2 * row, 4 * rows, x, end, sums + row);
    }
    for (; row < rows; row++) {
        const FLASH weight_code *w = first + 2 * row;
        const uint32_t *pair = x;
        int32_t s = 0;
        for (; pair != end; pair += 2, w += 2 * rows) {
            uint32_t four;
            memcpy(&four, w, 4);
            s = __smlad((int16x2_t)four, (int16x2_t)pair[0], s);
            s = __smlad(__sxtb16((int8x4_t)four), (int16x2_t)pair[1], s);
        }
        sums[row] = s;
    }
}
typedef uint32_t integer_code;
#else

#define integer_input(codes, width, pairs) (codes)

#if defined(FEW_SUMS)
KERNEL void integer_sums(const FLASH weight_code **weight, size_t rows, size_t width, const uint8_t *RESTRICT codes,
                         int32_t *RESTRICT sums)
{
    few_sums(8, *weight, rows, width, codes, 0, sums);
    *weight += width * rows;
}
#else
/* The sums of a block of `rows` rows, at most 16; moves `weight` to the next block. Four rows at a time: as many sums as
   a small processor has registers for. */
KERNEL void integer_sums(const FLASH weight_code **weight, size_t rows, size_t width, const uint8_t *RESTRICT codes,
                         int32_t *RESTRICT sums)
{
    const FLASH weight_code *const first = *weight, *const last = first + (width & ~(size_t)3) * rows;
    const size_t stride = 4 * rows, left = width & 3;
    size_t row, i;
    *weight += width * rows;
    for (row = 0; row + 4 <= rows; row += 4) {
        const FLASH weight_code *w = first + 4 * row;
        const uint8_t *x = codes;
        int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        for (; w < last; w += stride, x += 4) {
            int32_t code = x[0];
            s0 += w[0] * code;
            s1 += w[4] * code;
            s2 += w[8] * code;
            s3 += w[12] * code;
            code = x[1];
            s0 += w[1] * code;
            s1 += w[5] * code;
            s2 += w[9] * code;
            s3 += w[13] * code;
            code = x[2];
            s0 += w[2] * code;
            s1 += w[6] * code;
            s2 += w[10] * code;
            s3 += w[14] * code;
            code = x[3];
            s0 += w[3] * code;
            s1 += w[7] * code;
            s2 += w[11] * code;
            s3 += w[15] * code;
        }
        sums[row] = s0;
        sums[row + 1] = s1;
        sums[row + 2] = s2;
        sums[row + 3] = s3;
    }
    for (; row < rows; row++) {
        const FLASH weight_code *w = first + 4 * row;
        const uint8_t *x = codes;
        int32_t s = 0;
        for (; w < last; w += stride, x += 4) {
            s += (int32_t)w[0] * x[0] + (int32_t)w[1] * x[1] + (int32_t)w[2] * x[2] + (int32_t)w[3] * x[3];
        }
        sums[row] = s;
    }
    if (left) {
        const FLASH weight_code *w = last;
        codes += width - left;
        for (row = 0; row < rows; row++, w += left) {
            for (i = 0; i < left; i++) {
                sums[row] += (int32_t)w[i] * codes[i];
            }
        }
    }
}
#endif
typedef uint8_t integer_code;
#endif
