#include "some_floats.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#define WHOLE_BLOCK_SUMS_F32
/* block_sums_f32 for a whole block of 16 rows, in the same order. */
ALWAYS_INLINE void whole_block_sums_f32(const FLASH float *RESTRICT weight, size_t stride, size_t width,
                                        const float *RESTRICT x, float *RESTRICT sums)
{
    const size_t whole = width - width % 4;
    size_t i, k;
    __m512 s[4];
    s[0] = _mm512_loadu_ps(sums);
    s[1] = s[2] = s[3] = _mm512_setzero_ps();
    for (i = 0; i < whole; i += 4) {
        UNROLL for (k = 0; k < 4; k++, weight += stride) {
            s[k] = _mm512_fmadd_ps(_mm512_loadu_ps(weight), _mm512_set1_ps(x[i + k]), s[k]);
        }
    }
    for (; i < width; i++, weight += stride) {
        s[0] = _mm512_fmadd_ps(_mm512_loadu_ps(weight), _mm512_set1_ps(x[i]), s[0]);
    }
    _mm512_storeu_ps(sums, _mm512_add_ps(_mm512_add_ps(s[0], s[1]), _mm512_add_ps(s[2], s[3])));
}
#endif

#if defined(LANES)
/* Rows whose sums fit the registers, four of each row side by side. */
#if defined(__aarch64__)
#define ROWS_AT_ONCE 16
#else
#define ROWS_AT_ONCE (2 * LANES)
#endif

/* block_sums_f32 for V vectors of rows (a constant), in the same order. */
ALWAYS_INLINE void vector_sums_f32(const size_t V, const float *RESTRICT weight, size_t stride, size_t width,
                                   const float *RESTRICT x, float *RESTRICT sums)
{
    const size_t whole = width - width % 4;
    some_floats s[4][ROWS_AT_ONCE / LANES];
    size_t i, k, v;
    UNROLL for (v = 0; v < V; v++) {
        s[0][v] = LOAD_SOME(sums + LANES * v);
        s[1][v] = s[2][v] = s[3][v] = EACH(0.0f);
    }
    for (i = 0; i < whole; i += 4) {
        UNROLL for (k = 0; k < 4; k++, weight += stride) {
            const some_floats value = EACH(x[i + k]);
            UNROLL for (v = 0; v < V; v++) {
                s[k][v] = MULTIPLY_ADD_SOME(LOAD_SOME(weight + LANES * v), value, s[k][v]);
            }
        }
    }
    for (; i < width; i++, weight += stride) {
        UNROLL for (v = 0; v < V; v++) {
            s[0][v] = MULTIPLY_ADD_SOME(LOAD_SOME(weight + LANES * v), EACH(x[i]), s[0][v]);
        }
    }
    UNROLL for (v = 0; v < V; v++) {
        STORE_SOME(sums + LANES * v, ADD_SOME(ADD_SOME(s[0][v], s[1][v]), ADD_SOME(s[2][v], s[3][v])));
    }
}
#endif

/* Adds the products of R rows (a constant: 16, 8, 4, 2 or 1) and x to sums; the R weights of a column stand side by side,
   those of the next column `stride` further. Rows never meet, so compilers make vectors of this without reordering. */
ALWAYS_INLINE void block_sums_f32(const size_t R, const FLASH float *RESTRICT weight, size_t stride, size_t width,
                                  const float *RESTRICT x, float *RESTRICT sums)
{
    size_t i, row;
#if defined(WHOLE_BLOCK_SUMS_F32)
    if (R == BLOCK_ROWS) {
        whole_block_sums_f32(weight, stride, width, x, sums);
        return;
    }
#endif
#if defined(LANES)
    if (R >= ROWS_AT_ONCE) {
        for (row = 0; row < R; row += ROWS_AT_ONCE) {
            vector_sums_f32(ROWS_AT_ONCE / LANES, weight + row, stride, width, x, sums + row);
        }
        return;
    }
    if (R >= LANES) {
        vector_sums_f32(R / LANES, weight, stride, width, x, sums);
        return;
    }
#endif
#if defined(__SSE2__) || defined(__ARM_NEON)
    /* Four sums side by side: a processor with vectors would wait for each addition. */
    const size_t whole = width - width % 4;
    float s0[BLOCK_ROWS], s1[BLOCK_ROWS], s2[BLOCK_ROWS], s3[BLOCK_ROWS];
    for (row = 0; row < R; row++) {
        s0[row] = sums[row];
        s1[row] = s2[row] = s3[row] = 0.0f;
    }
    for (i = 0; i < whole; i += 4, weight += 4 * stride) {
        for (row = 0; row < R; row++) {
            s0[row] = multiply_add(weight[row], x[i], s0[row]);
        }
        for (row = 0; row < R; row++) {
            s1[row] = multiply_add(weight[stride + row], x[i + 1], s1[row]);
        }
        for (row = 0; row < R; row++) {
            s2[row] = multiply_add(weight[2 * stride + row], x[i + 2], s2[row]);
        }
        for (row = 0; row < R; row++) {
            s3[row] = multiply_add(weight[3 * stride + row], x[i + 3], s3[row]);
        }
    }
    for (i = whole; i < width; i++, weight += stride) {
        for (row = 0; row < R; row++) {
            s0[row] = multiply_add(weight[row], x[i], s0[row]);
        }
    }
    for (row = 0; row < R; row++) {
        sums[row] = (s0[row] + s1[row]) + (s2[row] + s3[row]);
    }
#else
    float s[MOST_ROWS];
    UNROLL for (row = 0; row < R; row++) {
        s[row] = sums[row];
    }
    for (i = 0; i < width; i++, weight += stride) {
        const float value = x[i];
        UNROLL for (row = 0; row < R; row++) {
            s[row] = multiply_add(weight[row], value, s[row]);
        }
    }
    UNROLL for (row = 0; row < R; row++) {
        sums[row] = s[row];
    }
#endif
}

/* The same for the `rows` (fewer than 16) of a last block. */
#if defined(__AVX512VL__)
#include <immintrin.h>
/* The weights as one stream of whole vectors: `vectors` of them (a constant: 16 times that is a multiple of rows) hold
   16 * vectors / rows columns, and lane after lane the same rows come again. sums is that of each row. */
ALWAYS_INLINE void stream_sums_f32(const size_t vectors, const FLASH float *RESTRICT weight, size_t rows, size_t width,
                                   const float *RESTRICT x, float *RESTRICT sums)
{
    const size_t columns = 16 * vectors / rows, whole = width - width % columns;
    const __mmask16 some = (__mmask16)((1u << columns) - 1u);
    float parts[5 * 16];
    __m512 s[5];
    __m512i at[5]; /* the column of each lane */
    size_t i, k, row;
    UNROLL for (k = 0; k < vectors; k++) {
        const __m512i lane = _mm512_add_epi32(_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
                                              _mm512_set1_epi32((int32_t)(16 * k)));
        const __m512 middle = _mm512_add_ps(_mm512_cvtepi32_ps(lane), _mm512_set1_ps(0.5f));
        at[k] = _mm512_cvttps_epi32(_mm512_div_ps(middle, _mm512_set1_ps((float)rows)));
        s[k] = _mm512_setzero_ps();
    }
    for (i = 0; i < whole; i += columns, weight += 16 * vectors) {
        const __m512 values = _mm512_maskz_loadu_ps(some, x + i);
        UNROLL for (k = 0; k < vectors; k++) {
            s[k] = _mm512_fmadd_ps(_mm512_loadu_ps(weight + 16 * k), _mm512_permutexvar_ps(at[k], values), s[k]);
        }
    }
    UNROLL for (k = 0; k < vectors; k++) {
        _mm512_storeu_ps(parts + 16 * k, s[k]);
    }
    for (i = 0; i < columns; i++) {
        for (row = 0; row < rows; row++) {
            sums[row] += parts[i * rows + row];
        }
    }
    for (i = whole; i < width; i++, weight += rows) {
        for (row = 0; row < rows; row++) {
            sums[row] = multiply_add(weight[row], x[i], sums[row]);
        }
    }
}

/* sums has room for 16. Vectors of 8 where they suffice: a load that reaches into the next cache line takes twice as
   long, masked or not. */
ALWAYS_INLINE void last_sums_f32(const FLASH float *RESTRICT weight, size_t rows, size_t width, const float *RESTRICT x,
                          float *RESTRICT sums)
{
    const size_t whole = width - width % 4;
    size_t i;
    if (width >= 64 && 16 % rows == 0) {
        stream_sums_f32(1, weight, rows, width, x, sums);
    } else if (width >= 64 && 48 % rows == 0) {
        stream_sums_f32(3, weight, rows, width, x, sums);
    } else if (width >= 64 && 80 % rows == 0) {
        stream_sums_f32(5, weight, rows, width, x, sums);
    } else if (rows <= 8) {
        const __mmask8 mask = (__mmask8)((1u << rows) - 1u);
        __m256 s0 = _mm256_loadu_ps(sums), s1 = _mm256_setzero_ps(), s2 = s1, s3 = s1;
        for (i = 0; i < whole; i += 4, weight += 4 * rows) {
            s0 = _mm256_fmadd_ps(_mm256_maskz_loadu_ps(mask, weight), _mm256_set1_ps(x[i]), s0);
            s1 = _mm256_fmadd_ps(_mm256_maskz_loadu_ps(mask, weight + rows), _mm256_set1_ps(x[i + 1]), s1);
            s2 = _mm256_fmadd_ps(_mm256_maskz_loadu_ps(mask, weight + 2 * rows), _mm256_set1_ps(x[i + 2]), s2);
            s3 = _mm256_fmadd_ps(_mm256_maskz_loadu_ps(mask, weight + 3 * rows), _mm256_set1_ps(x[i + 3]), s3);
        }
        for (i = whole; i < width; i++, weight += rows) {
            s0 = _mm256_fmadd_ps(_mm256_maskz_loadu_ps(mask, weight), _mm256_set1_ps(x[i]), s0);
        }
        _mm256_storeu_ps(sums, _mm256_add_ps(_mm256_add_ps(s0, s1), _mm256_add_ps(s2, s3)));
    } else {
        const __mmask16 mask = (__mmask16)((1u << rows) - 1u);
        __m512 s0 = _mm512_loadu_ps(sums), s1 = _mm512_setzero_ps(), s2 = s1, s3 = s1;
        for (i = 0; i < whole; i += 4, weight += 4 * rows) {
            s0 = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, weight), _mm512_set1_ps(x[i]), s0);
            s1 = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, weight + rows), _mm512_set1_ps(x[i + 1]), s1);
            s2 = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, weight + 2 * rows), _mm512_set1_ps(x[i + 2]), s2);
            s3 = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, weight + 3 * rows), _mm512_set1_ps(x[i + 3]), s3);
        }
        for (i = whole; i < width; i++, weight += rows) {
            s0 = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, weight), _mm512_set1_ps(x[i]), s0);
        }
        _mm512_storeu_ps(sums, _mm512_add_ps(_mm512_add_ps(s0, s1), _mm512_add_ps(s2, s3)));
    }
}
#else
KERNEL void last_sums_f32(const FLASH float *RESTRICT weight, size_t rows, size_t width, const float *RESTRICT x,
                          float *RESTRICT sums)
{
    size_t row = 0;
    if (MOST_ROWS >= 8 && (rows & 8)) {
        block_sums_f32(8, weight, rows, width, x, sums);
        row = 8;
    }
    if (MOST_ROWS >= 4 && (rows & 4)) {
        block_sums_f32(4, weight + row, rows, width, x, sums + row);
        row += 4;
    }
    if (MOST_ROWS >= 2 && (rows & 2)) {
        block_sums_f32(2, weight + row, rows, width, x, sums + row);
        row += 2;
    }
    if (rows & 1) {
        block_sums_f32(1, weight + row, rows, width, x, sums + row);
    }
}
#endif
