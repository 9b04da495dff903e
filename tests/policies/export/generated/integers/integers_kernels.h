/* The kernels that this policy calls. Each is chosen for the processor that the compiler is told to build for. */
#ifndef LILLIPUT_integers_KERNELS_H
#define LILLIPUT_integers_KERNELS_H

/* What every kernel stands on. */
#if defined(__FAST_MATH__)
#error "-ffast-math changes what a policy decides: compile without it"
#endif
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Each rounding counts: a product and a sum are joined only where multiply_add says so. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

/* As C++, gcc 12 finds undefined values in its own header of AVX-512. */
#if defined(__cplusplus) && defined(__AVX512F__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#if defined(__GNUC__)
#define KERNEL static inline __attribute__((unused))
#define ALWAYS_INLINE static inline __attribute__((always_inline, unused))
#define OUT_OF_LINE static __attribute__((noinline, unused)) /* whose loop needs all registers */
#else
#define KERNEL static inline
#define ALWAYS_INLINE static inline
#define OUT_OF_LINE static
#endif

/* Weights are stored in blocks of 16 rows: a column of a block is one vector of a large processor. */
#define BLOCK_ROWS 16
/* How many rows of a block have room in working memory: without vectors as many as this policy's largest block has. */
#if !defined(MOST_ROWS) || defined(__SSE2__) || defined(__ARM_NEON) || defined(__wasm_simd128__) || defined(_M_X64)
#undef MOST_ROWS
#define MOST_ROWS BLOCK_ROWS
#endif
/* Where constants stand. An AVR reads flash by instructions of its own, and so its pointers have types of their own. */
#if defined(__FLASH) && !defined(CONSTANTS_IN_MEMORY)
#define FLASH __flash
#define FLASH_APART 1
#else
#define FLASH
#endif
/* Vectors of 64 bytes are read fastest from where a cache line begins. */
#if defined(__AVX2__)
#define ALIGNED __attribute__((aligned(64)))
#elif defined(__ARM_FEATURE_DSP) /* several words are loaded at once */
#define ALIGNED __attribute__((aligned(4)))
#else
#define ALIGNED
#endif
#if defined(__cplusplus)
#define RESTRICT
#else
#define RESTRICT restrict
#endif

/* Processors without vectors, and those among them without floats: a float operation is dozens of instructions. */
#if LILLIPUT_INTEGERS || !(defined(__SSE2__) || defined(__ARM_NEON) || defined(__wasm_simd128__) || defined(_M_X64))
#define SCALAR 1
#endif
#if !defined(LILLIPUT_SOFT_FLOATS)
#if (defined(__arm__) && !defined(__ARM_FP)) || (defined(__riscv) && !defined(__riscv_flen)) || defined(__AVR__) \
    || defined(__MSP430__)
#define LILLIPUT_SOFT_FLOATS 1
#else
#define LILLIPUT_SOFT_FLOATS 0
#endif
#endif

/* Without a float unit a function that calls float routines stands alone: one copy in flash, and less on the stack than
   what it is called from would need for both. */
#if LILLIPUT_SOFT_FLOATS && defined(__GNUC__)
#define ALONE __attribute__((noinline))
#define KERNEL_ALONE static __attribute__((noinline, unused))
#else
#define ALONE
#define KERNEL_ALONE KERNEL
#endif

/* The bytes of a stream of n fields. */
KERNEL size_t bytes_of_fields(size_t n, unsigned bits)
{
    return n / 8 * bits + (n % 8 * bits + 7) / 8;
}

/* a * b + c, rounded once where the processor has an instruction for it. */
KERNEL float multiply_add(float a, float b, float c)
{
#if defined(__FP_FAST_FMAF) || defined(FP_FAST_FMAF)
    return fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

KERNEL uint32_t float_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

KERNEL float float_from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Spells the next loop out, so that an array of a fixed size stays in registers. */
#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#elif defined(__GNUC__) && __GNUC__ >= 8
#define UNROLL _Pragma("GCC unroll 16")
#else
#define UNROLL
#endif

/* NaN becomes `low`. */
KERNEL_ALONE float clamp(float x, float low, float high)
{
    x = x > low ? x : low;
    return x < high ? x : high;
}

/* Whether no number is NaN or infinite. */
KERNEL int all_finite(const float *x, size_t n)
{
    uint32_t seen = 0;
    size_t i;
    for (i = 0; i < n; i++) { /* an exponent of ones carries into the highest bit */
        seen |= (float_bits(x[i]) & 0x7fffffffu) + 0x00800000u;
    }
    return !(seen >> 31);
}

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

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

/* The value of an IEEE 754 half-precision number; every one is exact in float. */
KERNEL float half_value(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t magnitude = half & 0x7fffu;
    float value;
    if (magnitude >= 0x7c00u) { /* infinity and NaN */
        return float_from_bits(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
    }
#if LILLIPUT_SOFT_FLOATS
    if (magnitude >= 0x400u) {
        return float_from_bits(sign | ((magnitude << 13) + 0x38000000u));
    }
#endif
    /* Exponent 112 too small, put right by a multiplication that also normalizes subnormals. */
    value = float_from_bits(magnitude << 13) * 5.192296858534828e+33f; /* 2^112 */
    return float_from_bits(float_bits(value) | sign);
}

/* Decodes n half-precision numbers. */
KERNEL void half_to_float(const FLASH uint16_t *RESTRICT halves, size_t n, float *RESTRICT values)
{
    size_t i = 0;
#if defined(__AVX512F__)
    for (; i + 16 <= n; i += 16) {
        _mm512_storeu_ps(values + i, _mm512_maskz_cvtph_ps((__mmask16)0xffff, _mm256_loadu_si256((const __m256i *)(const void *)(halves + i))));
    }
#endif
    for (; i < n; i++) {
        values[i] = half_value(halves[i]);
    }
}


/* Where the next weight stands: how many numbers or bytes were read, and the bits of the last byte that are left. */
typedef struct {
    size_t at;
    unsigned window, held;
} weight_place;

/* The next weight as a code of 8 or fewer bits. */
ALWAYS_INLINE int next_code(const unsigned bits, const FLASH void *values, weight_place *place)
{
    if (bits == 8) {
        return ((const FLASH int8_t *)values)[place->at++];
    } else {
        const unsigned sign = 1u << (bits - 1), mask = (1u << bits) - 1;
        int code;
        if (place->held < bits) {
            place->window |= (unsigned)((const FLASH uint8_t *)values)[place->at++] << place->held;
            place->held += 8;
        }
        code = (int)((place->window & mask) ^ sign) - (int)sign;
        place->window >>= bits;
        place->held -= bits;
        return code;
    }
}

/* The next weight as a float: of a float (32 bits), half precision (16) or a code (8 or fewer). */
ALWAYS_INLINE float next_weight(const unsigned bits, const FLASH void *values, weight_place *place)
{
    if (bits == 32) {
        return ((const FLASH float *)values)[place->at++];
    }
    if (bits == 16) {
        return half_value(((const FLASH uint16_t *)values)[place->at++]);
    }
    return (float)next_code(bits, values, place);
}


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

/* The vector instructions of x86. All of immintrin.h takes longer to read than most policies take to compile. */
#if defined(__AVX__) || defined(__BMI2__)
#include <immintrin.h>
#elif defined(__SSE4_1__)
#include <smmintrin.h>
#elif defined(__SSSE3__)
#include <tmmintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif


/* Products of 16-bit numbers, which are exact, on x86: WIDE_ROWS rows of four columns are one vector of weights. */
#if defined(__SSE2__)
#if defined(__AVX512BW__)
#define WIDE_ROWS 8
typedef __m512i wide_vector;
#define WIDE(name) _mm512_##name
#define WIDE_ZERO _mm512_setzero_si512()

ALWAYS_INLINE wide_vector wide_weights(const int8_t *weight)
{
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)weight));
}

ALWAYS_INLINE void store_pairs(wide_vector a, wide_vector b, int32_t *sums)
{
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    _mm512_storeu_si512(sums, _mm512_add_epi32(_mm512_permutex2var_epi32(a, even, b), _mm512_permutex2var_epi32(a, odd, b)));
}

/* 16 rows of three codes, side by side, become 16 of four. */
ALWAYS_INLINE __m512i sixteen_threes(__m512i threes)
{
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 8, 9, 10, 11, 11);
    const __m128i three = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
    return _mm512_shuffle_epi8(_mm512_permutexvar_epi32(lanes, threes), _mm512_broadcast_i32x4(three));
}
#elif defined(__AVX2__)
#define WIDE_ROWS 4
typedef __m256i wide_vector;
#define WIDE(name) _mm256_##name
#define WIDE_ZERO _mm256_setzero_si256()

ALWAYS_INLINE wide_vector wide_weights(const int8_t *weight)
{
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)weight));
}

ALWAYS_INLINE void store_pairs(wide_vector a, wide_vector b, int32_t *sums)
{
    _mm256_storeu_si256((__m256i *)(void *)sums, _mm256_permute4x64_epi64(_mm256_hadd_epi32(a, b), 0xd8));
}
#else
#define WIDE_ROWS 2
typedef __m128i wide_vector;
#define WIDE(name) _mm_##name
#define WIDE_ZERO _mm_setzero_si128()

ALWAYS_INLINE wide_vector wide_weights(const int8_t *weight)
{
    const __m128i eight = _mm_loadl_epi64((const __m128i *)(const void *)weight);
#if defined(__SSE4_1__)
    return _mm_cvtepi8_epi16(eight);
#else
    return _mm_srai_epi16(_mm_unpacklo_epi8(eight, eight), 8);
#endif
}

ALWAYS_INLINE void store_pairs(wide_vector a, wide_vector b, int32_t *sums)
{
    const __m128 low = _mm_castsi128_ps(a), high = _mm_castsi128_ps(b);
    const __m128i even = _mm_castps_si128(_mm_shuffle_ps(low, high, 0x88));
    const __m128i odd = _mm_castps_si128(_mm_shuffle_ps(low, high, 0xdd));
    _mm_storeu_si128((__m128i *)(void *)sums, _mm_add_epi32(even, odd));
}
#endif

/* The processors that add two products of 16 bits, or four of bytes, to a sum at once. */
#if defined(__AVX512VNNI__) && defined(__AVX512BW__)
#define WIDE_DOTS(kind) _mm512_##kind##_epi32
#elif defined(__AVXVNNI__) && !defined(__AVX512BW__)
#define WIDE_DOTS(kind) _mm256_##kind##_avx_epi32
#endif

/* Lets no compiler compute it again, or in another order. */
#if defined(__GNUC__)
#define IN_REGISTER(vector) __asm__ volatile("" : "+v"(vector))
#else
#define IN_REGISTER(vector) (void)0
#endif

ALWAYS_INLINE wide_vector four_wide_codes(const int16_t *codes) /* again and again */
{
#if WIDE_ROWS == 8
    long long four;
    memcpy(&four, codes, 8);
    return _mm512_set1_epi64(four);
#elif WIDE_ROWS == 4
    long long four;
    memcpy(&four, codes, 8);
    return _mm256_set1_epi64x(four);
#else
    const __m128i four = _mm_loadl_epi64((const __m128i *)(const void *)codes);
    return _mm_unpacklo_epi64(four, four);
#endif
}

ALWAYS_INLINE wide_vector add_wide_products(wide_vector sum, wide_vector weight, wide_vector codes)
{
#if defined(WIDE_DOTS)
    return WIDE_DOTS(dpwssd)(sum, weight, codes);
#else
    return WIDE(add_epi32)(sum, WIDE(madd_epi16)(weight, codes));
#endif
}

/* How many groups of four columns can be read as vectors of `bytes` bytes from row `row` of a block on: not beyond its end. */
ALWAYS_INLINE size_t whole_groups(size_t rows, size_t width, size_t row, size_t bytes)
{
    const size_t first = 4 * row + bytes, all = rows * width;
    size_t groups;
    if (rows == BLOCK_ROWS) {
        return width / 4;
    }
    groups = all < first ? 0 : (all - first) / (4 * rows) + 1;
    return groups < width / 4 ? groups : width / 4;
}

/* The group of columns from `column` on, 2 * WIDE_ROWS rows from `row` on, with zeros for what is not there. */
ALWAYS_INLINE void copy_group(const int8_t *weight, size_t rows, size_t width, size_t column, size_t row,
                              int8_t group[8 * WIDE_ROWS])
{
    const size_t columns = width - column < 4 ? width - column : 4;
    const size_t n = rows - row < 2 * WIDE_ROWS ? rows - row : 2 * WIDE_ROWS;
    size_t i, k;
    weight += column * rows + row * columns;
#if WIDE_ROWS == 8
    if (columns < 4) {
        const __mmask64 stored = _cvtu64_mask64(~(uint64_t)0 >> (64 - n * columns));
        const __m512i some = _mm512_maskz_loadu_epi8(stored, weight);
        __m512i all = some;
        if (columns == 1) {
            all = _mm512_cvtepu8_epi32(_mm512_castsi512_si128(some));
        } else if (columns == 2) {
            all = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(some));
        } else {
            all = sixteen_threes(some);
        }
        _mm512_storeu_si512(group, all);
        return;
    }
#elif WIDE_ROWS == 4
    if (n == 2 * WIDE_ROWS && columns < 4) {
        const __m128i first = columns == 1 ? _mm_loadl_epi64((const __m128i *)(const void *)weight)
                                           : _mm_loadu_si128((const __m128i *)(const void *)weight);
        __m256i eight = columns == 1 ? _mm256_cvtepu8_epi32(first) : _mm256_cvtepu16_epi32(first);
        if (columns == 3) { /* rows 4 to 7 from byte 12 on: the second vector ends where the eight rows do */
            const __m128i last = _mm_loadu_si128((const __m128i *)(const void *)(weight + 8));
            const __m128i three = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
            eight = _mm256_set_m128i(_mm_shuffle_epi8(_mm_srli_si128(last, 4), three), _mm_shuffle_epi8(first, three));
        }
        _mm256_storeu_si256((__m256i *)(void *)group, eight);
        return;
    }
#endif
    memset(group, 0, 8 * WIDE_ROWS);
    for (i = 0; i < n; i++, weight += columns) {
        for (k = 0; k < columns; k++) {
            group[4 * i + k] = weight[k];
        }
    }
}
#endif


#if defined(__SSSE3__)
/* Products of bytes, whose sums of pairs saturate at 16 bits: so a code is split into its halves of four bits, of which eight
   products of pairs fit; where four products are added to a sum at once, it stays whole. SPLIT_BYTES: of weights a vector. */
#define SPLIT_BYTES (8 * WIDE_ROWS)

ALWAYS_INLINE wide_vector split_weights(const int8_t *weight)
{
#if WIDE_ROWS == 8
    return _mm512_loadu_si512(weight);
#elif WIDE_ROWS == 4
    return _mm256_loadu_si256((const __m256i *)(const void *)weight);
#else
    return _mm_loadu_si128((const __m128i *)(const void *)weight);
#endif
}

ALWAYS_INLINE wide_vector four_split_codes(const uint8_t *codes) /* again and again */
{
    int32_t four;
    memcpy(&four, codes, 4);
    return WIDE(set1_epi32)(four);
}

/* n bytes become 16 * high + low. */
KERNEL void split_codes(const uint8_t *RESTRICT codes, size_t n, uint8_t *RESTRICT high, uint8_t *RESTRICT low)
{
    size_t i;
    for (i = 0; i < n; i++) {
#if defined(WIDE_DOTS)
        high[i] = codes[i];
#else
        high[i] = (uint8_t)(codes[i] >> 4);
        low[i] = codes[i] & 15;
#endif
    }
#if defined(WIDE_DOTS)
    (void)low;
#endif
}

/* Adds the products of N groups of four columns (a constant: at most 8), `stride` bytes apart, of V vectors of rows. */
ALWAYS_INLINE void add_split_products(const size_t V, const size_t N, const int8_t *RESTRICT weight, size_t stride,
                                      const uint8_t *RESTRICT high, const uint8_t *RESTRICT low,
                                      wide_vector *RESTRICT highs, wide_vector *RESTRICT lows)
{
    size_t i, k;
#if defined(WIDE_DOTS)
    (void)low;
    UNROLL for (i = 0; i < N; i++, weight += stride) {
        const wide_vector x = four_split_codes(high + 4 * i);
        UNROLL for (k = 0; k < V; k++) {
            wide_vector *const sum = i % 2 ? &lows[k] : &highs[k]; /* two, as one would wait for itself */
            *sum = WIDE_DOTS(dpbusd)(*sum, x, split_weights(weight + SPLIT_BYTES * k));
        }
    }
#else
    const wide_vector ones = WIDE(set1_epi16)(1);
    wide_vector h[4], l[4]; /* sums of pairs */
    UNROLL for (i = 0; i < N; i++, weight += stride) {
        const wide_vector x = four_split_codes(high + 4 * i), y = four_split_codes(low + 4 * i);
        UNROLL for (k = 0; k < V; k++) {
            wide_vector w = split_weights(weight + SPLIT_BYTES * k);
            IN_REGISTER(w); /* read once */
            h[k] = i == 0 ? WIDE(maddubs_epi16)(x, w) : WIDE(add_epi16)(h[k], WIDE(maddubs_epi16)(x, w));
            l[k] = i == 0 ? WIDE(maddubs_epi16)(y, w) : WIDE(add_epi16)(l[k], WIDE(maddubs_epi16)(y, w));
            IN_REGISTER(h[k]); /* compilers add in another order, for which there are too few registers */
            IN_REGISTER(l[k]);
        }
    }
    UNROLL for (k = 0; k < V; k++) {
        highs[k] = WIDE(add_epi32)(highs[k], WIDE(madd_epi16)(h[k], ones));
        lows[k] = WIDE(add_epi32)(lows[k], WIDE(madd_epi16)(l[k], ones));
    }
#endif
}

/* The sums of V (a constant) vectors of a block's rows, from `row` on, with codes that end in zeros up to a multiple of four. */
ALWAYS_INLINE void split_rows(const size_t V, const int8_t *RESTRICT block, size_t rows, size_t width, size_t row,
                              const uint8_t *RESTRICT high, const uint8_t *RESTRICT low, int32_t *RESTRICT sums)
{
    const size_t whole = 4 * whole_groups(rows, width, row, SPLIT_BYTES * V), stride = 4 * rows;
    const int8_t *weight = block + 4 * row;
    wide_vector highs[4], lows[4];
    size_t i, k;
    UNROLL for (k = 0; k < V; k++) {
        highs[k] = lows[k] = WIDE_ZERO;
    }
    for (i = 0; i + 32 <= whole; i += 32, weight += 8 * stride) {
        add_split_products(V, 8, weight, stride, high + i, low + i, highs, lows);
    }
    for (; i + 16 <= whole; i += 16, weight += 4 * stride) {
        add_split_products(V, 4, weight, stride, high + i, low + i, highs, lows);
    }
    for (; i < whole; i += 4, weight += stride) {
        add_split_products(V, 1, weight, stride, high + i, low + i, highs, lows);
    }
    for (; i < width; i += 4) {
        int8_t group[4 * SPLIT_BYTES];
        UNROLL for (k = 0; k < V; k++) {
            copy_group(block, rows, width, i, row + 2 * WIDE_ROWS * k, group + SPLIT_BYTES * k);
        }
        add_split_products(V, 1, group, stride, high + i, low + i, highs, lows);
    }
    UNROLL for (k = 0; k < V; k++) {
#if defined(WIDE_DOTS)
        const wide_vector all = WIDE(add_epi32)(highs[k], lows[k]);
#else
        const wide_vector all = WIDE(add_epi32)(WIDE(slli_epi32)(highs[k], 4), lows[k]);
#endif
        memcpy(sums + 2 * WIDE_ROWS * k, &all, sizeof all);
    }
}

KERNEL void split_block_sums(const int8_t *RESTRICT weight, size_t rows, size_t width, const uint8_t *RESTRICT high,
                             const uint8_t *RESTRICT low, int32_t *RESTRICT sums)
{
    size_t row;
    if (rows == BLOCK_ROWS) {
        split_rows(BLOCK_ROWS / (2 * WIDE_ROWS), weight, BLOCK_ROWS, width, 0, high, low, sums);
        return;
    }
    for (row = 0; row < rows; row += 2 * WIDE_ROWS) {
        split_rows(1, weight, rows, width, row, high, low, sums + row);
    }
}
#endif

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


#if defined(__SSE2__)
/* Codes as the sums of blocks on x86 take them, made once for all blocks: at most PREPARED_COLUMNS. */
#define PREPARED_COLUMNS 4096
typedef union {
    int16_t wide[PREPARED_COLUMNS];
    uint8_t split[2][PREPARED_COLUMNS];
} prepared_codes;

KERNEL void prepare_codes(const uint8_t *RESTRICT codes, size_t width, int32_t zero_point, prepared_codes *RESTRICT to)
{
    size_t i;
#if defined(__SSSE3__)
    if (zero_point == 0) {
        split_codes(codes, width, to->split[0], to->split[1]);
        for (i = width; i % 4; i++) {
            to->split[0][i] = to->split[1][i] = 0;
        }
        return;
    }
#endif
    for (i = 0; i < width; i++) {
        to->wide[i] = (int16_t)(codes[i] - zero_point);
    }
    for (; i % 4; i++) {
        to->wide[i] = 0;
    }
}

/* The sums of a block of weights and prepared codes. */
KERNEL void prepared_sums(const int8_t *RESTRICT weight, size_t rows, size_t width, const prepared_codes *RESTRICT codes,
                          int32_t zero_point, int32_t sums[1][BLOCK_ROWS])
{
#if defined(__SSSE3__)
    if (zero_point == 0) {
        split_block_sums(weight, rows, width, codes->split[0], codes->split[1], sums[0]);
        return;
    }
#endif
    (void)zero_point;
    wide_block_sums(1, weight, rows, width, codes->wide, 0, sums);
}
#endif


/* Integer sums of products of codes. In a block of weights the rows of four columns stand side by side, four codes each;
   the last group may have fewer columns. */

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#include <immintrin.h>
#define BLOCK_SUMS_I8_VECTOR
#define BLOCK_SUMS_I8_DOTS /* four products an instruction */
KERNEL __m512i four_codes(const uint8_t *codes) /* in every lane */
{
    int32_t four;
    memcpy(&four, codes, 4);
    return _mm512_set1_epi32(four);
}

/* Adds the products of four groups of four columns; with `all`, those of weights and ones too. */
ALWAYS_INLINE void add_groups(const __m512i w[4], const uint8_t *codes, const int with_all, __m512i s[4], __m512i all[4])
{
    size_t k;
    UNROLL for (k = 0; k < 4; k++) {
        s[k] = _mm512_dpbusd_epi32(s[k], four_codes(codes + 4 * k), w[k]);
        all[k] = with_all ? _mm512_dpbusd_epi32(all[k], _mm512_set1_epi8(1), w[k]) : all[k];
    }
}

/* The same for the groups of a block of 16 rows that begins within a cache line, where a vector across two lines takes half as
   long again to come from the second-level cache. So lines are read as they lie: in each the last rows of one group stand
   before the first of the next. Returns how many columns. */
ALWAYS_INLINE size_t add_groups_across(const int8_t *weight, size_t width, const uint8_t *codes, const int with_all, __m512i s[4],
                                       __m512i all[4])
{
    const unsigned before = (unsigned)((uintptr_t)weight % 64 / 4);
    const __mmask16 low = (__mmask16)((1u << before) - 1u), high = (__mmask16)~low;
    const __m512i first = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i places = _mm512_add_epi32(first, _mm512_set1_epi32((int32_t)before)); /* modulo 16 */
    const __m512i zero = _mm512_setzero_si512(), ones = _mm512_set1_epi8(1);
    const int8_t *line = weight - 4 * before;
    const size_t groups = width / 4;
    __m512i last[4] = {zero, zero, zero, zero}, next[4], whole[4] = {zero, zero, zero, zero};
    __m512i w = _mm512_maskz_loadu_epi32(high, line), x = four_codes(codes);
    size_t g, k;
    next[0] = _mm512_dpbusd_epi32(zero, x, w);
    next[1] = next[2] = next[3] = zero;
    whole[0] = _mm512_dpbusd_epi32(zero, ones, w);
    for (g = 1; g + 4 <= groups; g += 4) {
        UNROLL for (k = 0; k < 4; k++) {
            w = _mm512_loadu_si512(line + 64 * (g + k));
            IN_REGISTER(w); /* read once */
            last[k] = _mm512_mask_dpbusd_epi32(last[k], low, x, w);
            x = four_codes(codes + 4 * (g + k));
            next[k] = _mm512_mask_dpbusd_epi32(next[k], high, x, w);
            whole[k] = with_all ? _mm512_dpbusd_epi32(whole[k], ones, w) : zero;
        }
    }
    for (; g < groups; g++) {
        w = _mm512_loadu_si512(line + 64 * g);
        last[1] = _mm512_mask_dpbusd_epi32(last[1], low, x, w);
        x = four_codes(codes + 4 * g);
        next[1] = _mm512_mask_dpbusd_epi32(next[1], high, x, w);
        whole[1] = _mm512_dpbusd_epi32(whole[1], ones, w);
    }
    w = _mm512_maskz_loadu_epi32(low, line + 64 * groups);
    last[0] = _mm512_dpbusd_epi32(last[0], x, w);
    whole[0] = _mm512_dpbusd_epi32(whole[0], ones, w);
    UNROLL for (k = 0; k < 4; k++) {
        s[k] = _mm512_permutexvar_epi32(places, _mm512_add_epi32(last[k], next[k]));
        all[k] = _mm512_permutexvar_epi32(places, whole[k]);
    }
    return 4 * groups;
}

/* Four unsigned by four signed products a lane, 16 rows at once; `rows` may be fewer than 16. */
ALWAYS_INLINE void block_sums_i8(const FLASH int8_t *RESTRICT weight, size_t rows, size_t width,
                                 const uint8_t *RESTRICT codes, int32_t zero_point, int32_t *RESTRICT sums)
{
    const __mmask16 mask = (__mmask16)((1u << rows) - 1u);
    const __m512i ones = _mm512_set1_epi8(1);
    const size_t stride = 4 * rows, within = (size_t)((uintptr_t)weight % 64);
    __m512i s[4], all[4], w[4];
    size_t i = 0, k;
    UNROLL for (k = 0; k < 4; k++) {
        s[k] = all[k] = _mm512_setzero_si512();
    }
    if (rows == BLOCK_ROWS && within != 0 && within % 4 == 0 && width >= 128) {
        i = zero_point == 0 ? add_groups_across(weight, width, codes, 0, s, all)
                            : add_groups_across(weight, width, codes, 1, s, all);
        weight += i * BLOCK_ROWS;
    }
    for (; i + 16 <= width; i += 16, weight += 4 * stride) {
        UNROLL for (k = 0; k < 4; k++) {
            w[k] = _mm512_maskz_loadu_epi32(mask, weight + k * stride);
        }
        if (zero_point == 0) {
            add_groups(w, codes + i, 0, s, all);
        } else {
            add_groups(w, codes + i, 1, s, all);
        }
    }
    for (; i + 4 <= width; i += 4, weight += stride) {
        w[0] = _mm512_maskz_loadu_epi32(mask, weight);
        s[0] = _mm512_dpbusd_epi32(s[0], four_codes(codes + i), w[0]);
        all[0] = _mm512_dpbusd_epi32(all[0], ones, w[0]);
    }
    if (i < width) { /* fewer than four columns: spread to four */
        const unsigned columns = (unsigned)(width - i);
        const unsigned second = columns > 1 ? codes[i + 1] : 0u, third = columns > 2 ? codes[i + 2] : 0u;
        const int32_t left = (int32_t)(codes[i] | second << 8 | third << 16);
        if (columns == 1) {
            w[0] = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, weight));
        } else if (columns == 2) {
            w[0] = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, weight));
        } else {
            const __mmask64 stored = _cvtu64_mask64(~(uint64_t)0 >> (64 - rows * columns));
            w[0] = sixteen_threes(_mm512_maskz_loadu_epi8(stored, weight));
        }
        s[1] = _mm512_dpbusd_epi32(s[1], _mm512_set1_epi32(left), w[0]);
        all[1] = _mm512_dpbusd_epi32(all[1], ones, w[0]);
    }
    s[0] = _mm512_add_epi32(_mm512_add_epi32(s[0], s[1]), _mm512_add_epi32(s[2], s[3]));
    if (zero_point != 0) {
        all[0] = _mm512_add_epi32(_mm512_add_epi32(all[0], all[1]), _mm512_add_epi32(all[2], all[3]));
        s[0] = _mm512_sub_epi32(s[0], _mm512_mullo_epi32(all[0], _mm512_set1_epi32(zero_point)));
    }
    _mm512_mask_storeu_epi32(sums, mask, s[0]);
}
#elif defined(__SSE2__)
#define BLOCK_SUMS_I8_VECTOR
/* As many columns at a time as codes can be prepared for. */
KERNEL void block_sums_i8(const int8_t *RESTRICT weight, size_t rows, size_t width, const uint8_t *RESTRICT codes,
                          int32_t zero_point, int32_t *RESTRICT sums)
{
    prepared_codes prepared;
    int32_t part[1][BLOCK_ROWS];
    size_t first, i;
    for (i = 0; i < rows; i++) {
        sums[i] = 0;
    }
    for (first = 0; first < width; first += PREPARED_COLUMNS) {
        const size_t n = width - first < PREPARED_COLUMNS ? width - first : PREPARED_COLUMNS;
        prepare_codes(codes + first, n, zero_point, &prepared);
        prepared_sums(weight + first * rows, rows, n, &prepared, zero_point, part);
        for (i = 0; i < rows; i++) {
            sums[i] += part[0][i];
        }
    }
}
#elif defined(__ARM_NEON) && defined(__aarch64__)
#define BLOCK_SUMS_I8_VECTOR
#define block_sums_i8 block_sums_i8_neon
#elif defined(__ARM_FEATURE_DSP) && !defined(__aarch64__)
#define BLOCK_SUMS_I8_VECTOR
#include <arm_acle.h>
/* Two products an instruction, on pairs of 16-bit numbers; four rows at a time. */
KERNEL void block_sums_i8(const FLASH int8_t *RESTRICT weight, size_t rows, size_t width, const uint8_t *RESTRICT codes,
                          int32_t zero_point, int32_t *RESTRICT sums)
{
    const uint32_t zero_pair = ((uint32_t)zero_point & 0xffffu) * 0x10001u;
    const size_t whole = width - width % 4, stride = 4 * rows;
    size_t row, i, k;
    for (row = 0; row + 4 <= rows; row += 4) {
        const FLASH int8_t *w = weight + 4 * row;
        int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        for (i = 0; i < whole; i += 4, w += stride) {
            uint32_t word, w0, w1, w2, w3;
            int16x2_t even, odd;
            memcpy(&word, codes + i, 4);
            memcpy(&w0, w, 4);
            memcpy(&w1, w + 4, 4);
            memcpy(&w2, w + 8, 4);
            memcpy(&w3, w + 12, 4);
            even = (int16x2_t)__uxtb16(word);
            odd = (int16x2_t)__uxtb16(word >> 8 | word << 24);
            if (zero_pair) {
                even = __ssub16(even, (int16x2_t)zero_pair);
                odd = __ssub16(odd, (int16x2_t)zero_pair);
            }
            s0 = __smlad(__sxtb16((int8x4_t)(w0 >> 8 | w0 << 24)), odd, __smlad(__sxtb16((int8x4_t)w0), even, s0));
            s1 = __smlad(__sxtb16((int8x4_t)(w1 >> 8 | w1 << 24)), odd, __smlad(__sxtb16((int8x4_t)w1), even, s1));
            s2 = __smlad(__sxtb16((int8x4_t)(w2 >> 8 | w2 << 24)), odd, __smlad(__sxtb16((int8x4_t)w2), even, s2));
            s3 = __smlad(__sxtb16((int8x4_t)(w3 >> 8 | w3 << 24)), odd, __smlad(__sxtb16((int8x4_t)w3), even, s3));
        }
        sums[row] = s0;
        sums[row + 1] = s1;
        sums[row + 2] = s2;
        sums[row + 3] = s3;
    }
    for (; row < rows; row++) {
        const FLASH int8_t *w = weight + 4 * row;
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

#if defined(FEW_SUMS) && !defined(BLOCK_SUMS_I8_VECTOR)
KERNEL void block_sums_i8(const FLASH int8_t *RESTRICT weight, size_t rows, size_t width, const uint8_t *RESTRICT codes,
                          int32_t zero_point, int32_t *RESTRICT sums)
{
    few_sums(8, weight, rows, width, codes, zero_point, sums);
}
#elif !defined(BLOCK_SUMS_I8_VECTOR)
/* Two rows at a time: as many sums as a small processor has registers for. */
KERNEL void block_sums_i8(const FLASH int8_t *RESTRICT weight, size_t rows, size_t width, const uint8_t *RESTRICT codes,
                          int32_t zero_point, int32_t *RESTRICT sums)
{
    const size_t whole = width - width % 4, stride = 4 * rows;
    size_t row, i;
    for (row = 0; row + 2 <= rows; row += 2) {
        const FLASH int8_t *w = weight + 4 * row;
        int32_t s0 = 0, s1 = 0;
        for (i = 0; i < whole; i += 4, w += stride) {
            const int32_t x0 = codes[i] - zero_point, x1 = codes[i + 1] - zero_point;
            const int32_t x2 = codes[i + 2] - zero_point, x3 = codes[i + 3] - zero_point;
            s0 += w[0] * x0 + w[1] * x1 + w[2] * x2 + w[3] * x3;
            s1 += w[4] * x0 + w[5] * x1 + w[6] * x2 + w[7] * x3;
        }
        sums[row] = s0;
        sums[row + 1] = s1;
    }
    if (row < rows) {
        const FLASH int8_t *w = weight + 4 * row;
        int32_t s = 0;
        for (i = 0; i < whole; i += 4, w += stride) {
            s += w[0] * (codes[i] - zero_point) + w[1] * (codes[i + 1] - zero_point);
            s += w[2] * (codes[i + 2] - zero_point) + w[3] * (codes[i + 3] - zero_point);
        }
        sums[row] = s;
    }
    weight += whole * rows;
    for (row = 0; row < rows; row++) {
        for (i = whole; i < width; i++) {
            sums[row] += *weight++ * (codes[i] - zero_point);
        }
    }
}
#endif

/* Small constants: real numbers that may be stored in half precision, and zero points of 8, 16 or 32 bits. Without a float
   unit each is decoded where it stands, which takes no working memory. Elsewhere all are decoded before, and stand in
   arrays of which compilers make vectors. ANY: whether there are any, which a layer may do without. */
#if LILLIPUT_SOFT_FLOATS
typedef struct {
    const FLASH void *at;
    unsigned bits;
} stored;

KERNEL stored stored_as(const FLASH void *at, unsigned bits)
{
    stored found;
    found.at = at;
    found.bits = bits;
    return found;
}

KERNEL float stored_real(stored reals, size_t i)
{
#if STORES_HALVES
    if (reals.bits == 16) {
        return half_value(((const FLASH uint16_t *)reals.at)[i]);
    }
#endif
    return ((const FLASH float *)reals.at)[i];
}

KERNEL stored stored_from(stored reals, size_t i)
{
    return stored_as((const FLASH uint8_t *)reals.at + i * (reals.bits / 8), reals.bits);
}

KERNEL int32_t stored_zero(stored zeros, size_t i)
{
    switch (zeros.bits) {
    case 8:
        return ((const FLASH uint8_t *)zeros.at)[i];
    case 16:
        return ((const FLASH int16_t *)zeros.at)[i];
    default:
        return ((const FLASH int32_t *)zeros.at)[i];
    }
}

#define REALS stored
#define FLOATS(array) stored_as(array, 32)
#define DECODE_HALVES(array, n, floats) (void)0
#define HALVES(array, floats) stored_as(array, 16)
#define NO_REALS stored_as(NULL, 32)
#define ANY(reals) ((reals).at != NULL)
#define REAL(reals, i) stored_real(reals, i)
#define REALS_FROM(reals, i) stored_from(reals, i)
#define REALS_FROM_ANY(reals, i) (ANY(reals) ? stored_from(reals, i) : (reals))
#define ZEROS stored
#define DECODE_ZEROS_8(array, n, zeros) (void)0
#define DECODE_ZEROS_16(array, n, zeros) (void)0
#define ZEROS_8(array, zeros) stored_as(array, 8)
#define ZEROS_16(array, zeros) stored_as(array, 16)
#define ZEROS_32(array) stored_as(array, 32)
#define ZERO(zeros, i) stored_zero(zeros, i)
#else
#define REALS const float *RESTRICT
#define FLOATS(array) (array)
#define DECODE_HALVES(array, n, floats) half_to_float(array, n, floats)
#define HALVES(array, floats) (floats)
#define NO_REALS NULL
#define ANY(reals) ((reals) != NULL)
#define REAL(reals, i) (reals)[i]
#define REALS_FROM(reals, i) ((reals) + (i))
#define REALS_FROM_ANY(reals, i) ((reals) ? (reals) + (i) : (reals))
#define ZEROS const int32_t *RESTRICT
#define DECODE_ZEROS_8(array, n, zeros) widen_u8(array, n, zeros)
#define DECODE_ZEROS_16(array, n, zeros) widen_i16(array, n, zeros)
#define ZEROS_8(array, zeros) (zeros)
#define ZEROS_16(array, zeros) (zeros)
#define ZEROS_32(array) (array)
#define ZERO(zeros, i) (zeros)[i]
#endif


/* The real numbers that `n` sums of products of codes stand for; a scale step of 0 means one scale for all rows. */
ALWAYS_INLINE void real_sums(const int32_t *RESTRICT sums, size_t n, REALS scale, size_t scale_step,
                             float input_scale, REALS bias, float *RESTRICT y)
{
    size_t row;
    if (scale_step == 0) {
        const float factor = REAL(scale, 0) * input_scale;
        for (row = 0; row < n; row++) {
            y[row] = (float)sums[row] * factor;
        }
    } else {
        for (row = 0; row < n; row++) {
            y[row] = (float)sums[row] * (REAL(scale, row) * input_scale);
        }
    }
    if (ANY(bias)) {
        for (row = 0; row < n; row++) {
            y[row] += REAL(bias, row);
        }
    }
}


/* y = (weight (codes - zero_point)) * (scale * input_scale) + bias; exact up to the two last roundings.
   A scale step of 0 means one scale for all rows; bias may be NULL. */
KERNEL void dense_i8(const FLASH int8_t *RESTRICT weight, size_t rows, size_t width, const uint8_t *RESTRICT codes,
                     int32_t zero_point, REALS scale, size_t scale_step, float input_scale,
                     REALS bias, float *RESTRICT y)
{
    const size_t whole = rows - rows % BLOCK_ROWS;
    int32_t sums[MOST_ROWS];
    size_t row;
#if defined(PREPARED_COLUMNS) && !defined(BLOCK_SUMS_I8_DOTS)
    if (width <= PREPARED_COLUMNS) {
        prepared_codes prepared;
        int32_t block_sums[1][BLOCK_ROWS];
        prepare_codes(codes, width, zero_point, &prepared);
        for (row = 0; row < rows; row += BLOCK_ROWS, weight += BLOCK_ROWS * width) {
            const size_t height = rows - row < BLOCK_ROWS ? rows - row : BLOCK_ROWS;
            prepared_sums(weight, height, width, &prepared, zero_point, block_sums);
            real_sums(block_sums[0], height, REALS_FROM(scale, row * scale_step), scale_step, input_scale,
                      REALS_FROM_ANY(bias, row), y + row);
        }
        return;
    }
#endif
    for (row = 0; MOST_ROWS == BLOCK_ROWS && row < whole; row += BLOCK_ROWS, weight += BLOCK_ROWS * width) {
        block_sums_i8(weight, BLOCK_ROWS, width, codes, zero_point, sums);
        real_sums(sums, BLOCK_ROWS, REALS_FROM(scale, row * scale_step), scale_step, input_scale, REALS_FROM_ANY(bias, row), y + row);
    }
    if (whole < rows) {
        block_sums_i8(weight, rows - whole, width, codes, zero_point, sums);
        real_sums(sums, rows - whole, REALS_FROM(scale, whole * scale_step), scale_step, input_scale, REALS_FROM_ANY(bias, whole),
                  y + whole);
    }
}

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

/* What makes codes of the sums of a row. */
typedef struct {
    int32_t multiplier, offset;
} requantize_row;

/* The next layer's codes: clamp((sum * multiplier + offset * 2^16) / 2^shift, rounded down, from low to high), of sums
   in units of 2^-sum_shift; shift is 32 or more. */
ALWAYS_INLINE void rows_to_codes(const int32_t *RESTRICT sums, size_t n, const int sum_shift,
                                 const FLASH requantize_row *RESTRICT by, int shift, int32_t low, int32_t high,
                                 uint8_t *RESTRICT next)
{
    const int32_t *const end = sums + n;
    shift -= 32 - sum_shift;
    for (; sums < end; sums++, by++) {
        const int64_t value = (int64_t)*sums * by->multiplier + (int64_t)by->offset * ((int32_t)1 << (16 + sum_shift));
        int32_t code = (int32_t)(value >> 32) >> shift;
        code = code < low ? low : code;
        *next++ = (uint8_t)(code > high ? high : code);
    }
}


/* A layer's sums as the next layer's codes: see rows_to_codes. */
KERNEL void dense_to_codes(const FLASH weight_code *weight, size_t rows, size_t width, const integer_code *RESTRICT codes,
                           const FLASH requantize_row *RESTRICT by, int shift, int32_t low, int32_t high,
                           uint8_t *RESTRICT next)
{
    int32_t sums[MOST_ROWS];
    size_t row;
    for (row = 0; row < rows; row += BLOCK_ROWS) {
        const size_t block = rows - row < BLOCK_ROWS ? rows - row : BLOCK_ROWS;
        integer_sums(&weight, block, width, codes, sums);
        rows_to_codes(sums, block, SUM_SHIFT, by + row, shift, low, high, next + row);
    }
}

/* y = sums * scale + bias, as floats. `centre`: what a sum lacks where codes count from elsewhere than zero.
   A scale step of 0 means one scale for all rows; bias may be NULL. */
KERNEL void dense_to_floats(const FLASH weight_code *weight, size_t rows, size_t width, const integer_code *RESTRICT codes,
                            const FLASH int32_t *RESTRICT centre, REALS scale, size_t scale_step,
                            REALS bias, float *RESTRICT y)
{
    int32_t sums[MOST_ROWS];
    size_t row, i;
    for (row = 0; row < rows; row += BLOCK_ROWS) {
        const size_t block = rows - row < BLOCK_ROWS ? rows - row : BLOCK_ROWS;
        integer_sums(&weight, block, width, codes, sums);
        for (i = 0; i < block; i++) {
            sums[i] = (sums[i] >> SUM_SHIFT) + centre[row + i];
        }
        real_sums(sums, block, REALS_FROM(scale, row * scale_step), scale_step, 1.0f, REALS_FROM_ANY(bias, row), y + row);
    }
}

/* What a policy answers that cannot decide. */
KERNEL void no_action(float *action, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++) {
        action[i] = float_from_bits(0x7fc00000u); /* NaN */
    }
}

/* A vector of LANES floats, where there are any, of which the widest vectors have kernels of their own. */
#if LILLIPUT_SOFT_FLOATS /* none */
#elif defined(__AVX2__) && defined(__FMA__)
#define LANES 8
typedef __m256 some_floats;
#define LOAD_SOME(from) _mm256_loadu_ps(from)
#define STORE_SOME(to, some) _mm256_storeu_ps(to, some)
#define EACH(value) _mm256_set1_ps(value)
#define ADD_SOME(a, b) _mm256_add_ps(a, b)
#define MULTIPLY_ADD_SOME(a, b, c) _mm256_fmadd_ps(a, b, c)
#elif defined(__SSE2__)
#define LANES 4
typedef __m128 some_floats;
#define LOAD_SOME(from) _mm_loadu_ps(from)
#define STORE_SOME(to, some) _mm_storeu_ps(to, some)
#define EACH(value) _mm_set1_ps(value)
#define ADD_SOME(a, b) _mm_add_ps(a, b)
#define MULTIPLY_SOME(a, b) _mm_mul_ps(a, b)
#define DIVIDE_SOME(a, b) _mm_div_ps(a, b)
#define MULTIPLY_ADD_SOME(a, b, c) _mm_add_ps(_mm_mul_ps(a, b), c)
#elif defined(__ARM_NEON) && defined(__aarch64__)
#include <arm_neon.h>
#define LANES 4
typedef float32x4_t some_floats;
#define LOAD_SOME(from) vld1q_f32(from)
#define STORE_SOME(to, some) vst1q_f32(to, some)
#define EACH(value) vdupq_n_f32(value)
#define ADD_SOME(a, b) vaddq_f32(a, b)
#define MULTIPLY_SOME(a, b) vmulq_f32(a, b)
#define DIVIDE_SOME(a, b) vdivq_f32(a, b)
#define MULTIPLY_ADD_SOME(a, b, c) vfmaq_f32(c, a, b)
#endif


#if defined(__AVX512BW__) && defined(__AVX512VL__)
#include <immintrin.h>
#define SIXTEEN_CODES
/* saturate(round(scaled) + zero), unsigned, from 0 to top (at most 255). By hand: compilers make masks of `clamp`, ten times
   the instructions. */
ALWAYS_INLINE __m128i sixteen_codes(__m512 scaled, __m512i zero, int32_t top)
{
    const __m512 low = _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_setzero_si512(), zero));
    const __m512 high = _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_set1_epi32(top), zero));
    const __m512 inside = _mm512_min_ps(_mm512_max_ps(scaled, low), high); /* NaN becomes low */
    return _mm512_cvtepi32_epi8(_mm512_add_epi32(_mm512_cvtps_epi32(inside), zero));
}
#elif defined(__AVX2__)
#include <immintrin.h>
#define EIGHT_CODES
/* saturate(round(scaled) + zero), unsigned, from 0 to top (at most 255), in the lower half. By hand: compilers make masks of
   `clamp`. */
ALWAYS_INLINE __m128i eight_codes(__m256 scaled, __m256i zero, int32_t top)
{
    const __m256 low = _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_setzero_si256(), zero));
    const __m256 high = _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_set1_epi32(top), zero));
    const __m256 inside = _mm256_min_ps(_mm256_max_ps(scaled, low), high); /* NaN becomes low */
    const __m256i code = _mm256_add_epi32(_mm256_cvtps_epi32(inside), zero);
    const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(code), _mm256_extracti128_si256(code, 1));
    return _mm_packus_epi16(words, words);
}
#elif defined(LANES) /* of four floats */
#define FOUR_CODES
/* The four codes of the same. */
#if defined(__SSE2__)
typedef __m128i some_integers;
#define LOAD_INTEGERS(from) _mm_loadu_si128((const __m128i *)(const void *)(from))
#define EACH_INTEGER(value) _mm_set1_epi32(value)
ALWAYS_INLINE void four_codes(__m128 scaled, __m128i zero, int32_t top, uint8_t *codes)
{
    const __m128 low = _mm_cvtepi32_ps(_mm_sub_epi32(_mm_setzero_si128(), zero));
    const __m128 high = _mm_cvtepi32_ps(_mm_sub_epi32(_mm_set1_epi32(top), zero));
    const __m128 inside = _mm_min_ps(_mm_max_ps(scaled, low), high); /* NaN becomes low */
    const __m128i code = _mm_add_epi32(_mm_cvtps_epi32(inside), zero);
    const __m128i words = _mm_packs_epi32(code, code);
    const int32_t four = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
    memcpy(codes, &four, 4);
}
#else
typedef int32x4_t some_integers;
#define LOAD_INTEGERS(from) vld1q_s32(from)
#define EACH_INTEGER(value) vdupq_n_s32(value)
ALWAYS_INLINE void four_codes(float32x4_t scaled, int32x4_t zero, int32_t top, uint8_t *codes)
{
    const float32x4_t low = vcvtq_f32_s32(vnegq_s32(zero)), high = vcvtq_f32_s32(vsubq_s32(vdupq_n_s32(top), zero));
    const float32x4_t inside = vminnmq_f32(vmaxnmq_f32(scaled, low), high); /* NaN becomes low */
    const uint16x4_t words = vmovn_u32(vreinterpretq_u32_s32(vaddq_s32(vcvtnq_s32_f32(inside), zero)));
    const uint32_t four = vget_lane_u32(vreinterpret_u32_u8(vmovn_u16(vcombine_u16(words, words))), 0);
    memcpy(codes, &four, 4);
}
#endif
#endif


#if LILLIPUT_SOFT_FLOATS
/* The integer nearest to x, ties to even, if it is below 2^23 in size, else one farther out; NaN becomes `nan`. */
KERNEL_ALONE int32_t nearest_integer(float x, int32_t nan)
{
    const uint32_t bits = float_bits(x), size = bits & 0x7fffffffu;
    const int below = 150 - (int)(size >> 23); /* bits of the mantissa that stand for fractions */
    uint32_t whole = 0;
    if (size > 0x7f800000u) {
        return nan;
    }
    if (below <= 0) {
        whole = (uint32_t)1 << 23;
    } else if (below <= 24) {
        const uint32_t mantissa = (size & 0x7fffffu) | 0x800000u, half = (uint32_t)1 << (below - 1);
        whole = mantissa >> below;
        whole = (mantissa + half - 1 + (whole & 1)) >> below;
    }
    return bits >> 31 ? -(int32_t)whole : (int32_t)whole;
}
#endif

/* codes = saturate(round(x * inverse_scale) + zero_point), unsigned, from 0 to top (at most 255).
   Ties go to even. A step of 0 means one number for all. Zero points up to 4,000,000 in size. */
KERNEL void quantize_static(const float *RESTRICT x, size_t n, REALS inverse_scale, size_t scale_step,
                            ZEROS zero_point, size_t zero_point_step, int32_t top,
                            uint8_t *RESTRICT codes)
{
#if !LILLIPUT_SOFT_FLOATS
    const float to_integer = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer in the low bits */
#endif
    size_t whole = 0, i;
#if defined(SIXTEEN_CODES)
    __m512 scale = _mm512_set1_ps(inverse_scale[0]);
    __m512i zero = _mm512_set1_epi32(zero_point[0]);
    whole = n - n % 16;
    for (i = 0; i < whole; i += 16) {
        scale = scale_step ? _mm512_loadu_ps(inverse_scale + i) : scale;
        zero = zero_point_step ? _mm512_loadu_si512(zero_point + i) : zero;
        _mm_storeu_si128((__m128i *)(void *)(codes + i), sixteen_codes(_mm512_mul_ps(_mm512_loadu_ps(x + i), scale), zero, top));
    }
    if (i < n) {
        const __mmask16 rest = (__mmask16)((1u << (n - whole)) - 1u);
        scale = scale_step ? _mm512_maskz_loadu_ps(rest, inverse_scale + i) : scale;
        zero = zero_point_step ? _mm512_maskz_loadu_epi32(rest, zero_point + i) : zero;
        _mm_mask_storeu_epi8(codes + i, rest, sixteen_codes(_mm512_mul_ps(_mm512_maskz_loadu_ps(rest, x + i), scale), zero, top));
        whole = n;
    }
#elif defined(EIGHT_CODES)
    __m256 scale = _mm256_set1_ps(inverse_scale[0]);
    __m256i zero = _mm256_set1_epi32(zero_point[0]);
    whole = n - n % 8;
    for (i = 0; i < whole; i += 8) {
        scale = scale_step ? _mm256_loadu_ps(inverse_scale + i) : scale;
        zero = zero_point_step ? _mm256_loadu_si256((const __m256i *)(const void *)(zero_point + i)) : zero;
        _mm_storel_epi64((__m128i *)(void *)(codes + i), eight_codes(_mm256_mul_ps(_mm256_loadu_ps(x + i), scale), zero, top));
    }
#elif defined(FOUR_CODES)
    some_floats scale = EACH(inverse_scale[0]);
    some_integers zero = EACH_INTEGER(zero_point[0]);
    whole = n - n % 4;
    for (i = 0; i < whole; i += 4) {
        scale = scale_step ? LOAD_SOME(inverse_scale + i) : scale;
        zero = zero_point_step ? LOAD_INTEGERS(zero_point + i) : zero;
        four_codes(MULTIPLY_SOME(LOAD_SOME(x + i), scale), zero, top, codes + i);
    }
#endif
    for (i = whole; i < n; i++) {
        int32_t one = ZERO(zero_point, i * zero_point_step);
#if LILLIPUT_SOFT_FLOATS
        int32_t code = nearest_integer(x[i] * REAL(inverse_scale, i * scale_step), -one) + one;
        codes[i] = (uint8_t)(code < 0 ? 0 : code > top ? top : code);
#else
        float scaled = clamp(x[i] * REAL(inverse_scale, i * scale_step), (float)-one, (float)(top - one));
        int32_t rounded = (int32_t)(float_bits(scaled + to_integer) - float_bits(to_integer));
        codes[i] = (uint8_t)(rounded + one);
#endif
    }
}

/* exp(x) - 1 for -87 <= x <= 88, within 1.5 units in the last place or so; branch-free, so that compilers vectorize it.
   x = n ln 2 + r, exp(x) - 1 = 2^n (exp(r) - 1) + (2^n - 1). */
KERNEL float expm1_in_range(float x)
{
    const float to_integer = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer in the low bits */
    float shifted = multiply_add(x, 1.44269504f, to_integer);
    float n = shifted - to_integer;
    float power = float_from_bits((float_bits(shifted) + 127u) << 23);
    float r = multiply_add(n, -0.693145752f, x); /* ln 2 in two parts, the first of 15 bits: n times it is exact */
    float p;
    r = multiply_add(n, -1.42860677e-6f, r);
    p = 1.98412698e-4f;
    p = multiply_add(p, r, 1.38888889e-3f);
    p = multiply_add(p, r, 8.33333333e-3f);
    p = multiply_add(p, r, 4.16666667e-2f);
    p = multiply_add(p, r, 1.66666667e-1f);
    p = multiply_add(p, r, 0.5f);
    p = multiply_add(p * r, r, r);
    return multiply_add(p, power, power - 1.0f);
}

KERNEL float clamp_nan(float x, float low, float high) /* NaN stays NaN */
{
    x = x < low ? low : x;
    return x > high ? high : x;
}


/* x = tanh(x), at most 3e-7 off. */
KERNEL void tanh_all(float *x, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++) {
        /* Beyond 9.02 the nearest float is 1. */
        float twice = 2.0f * clamp_nan(x[i], -9.02f, 9.02f);
        float e = expm1_in_range(twice);
        x[i] = e / (e + 2.0f);
    }
}

KERNEL void widen_u8(const FLASH uint8_t *RESTRICT from, size_t n, int32_t *RESTRICT to)
{
    size_t i;
    for (i = 0; i < n; i++) {
        to[i] = from[i];
    }
}

#endif
