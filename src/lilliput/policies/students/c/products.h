/* Products of small matrices of floats. Rows are padded with zeros to whole vectors, so that no product has a rest of
   columns, and begin at multiples of sizeof(vector). */
#ifndef PRODUCTS_H
#define PRODUCTS_H

#include <stddef.h>
#include <string.h>

#if defined(__AVX512F__)
#define VECTOR_FLOATS 16
#elif defined(__AVX__)
#define VECTOR_FLOATS 8
#else
#define VECTOR_FLOATS 4
#endif
typedef float vector __attribute__((vector_size(4 * VECTOR_FLOATS), aligned(4), may_alias));

#define INLINED static inline __attribute__((always_inline))

static size_t padded(size_t n)
{
    return (n + VECTOR_FLOATS - 1) / VECTOR_FLOATS * VECTOR_FLOATS;
}

/* A matrix that is read element by element: element (i, k) is at[i * row + k * column]. */
typedef struct {
    const float *at;
    size_t row, column;
} elements;

INLINED vector *vector_at(float *x)
{
    return (vector *)(void *)x;
}

INLINED const vector *const_vector_at(const float *x)
{
    return (const vector *)(const void *)x;
}

/* c[i][j] = sum over k of a[i][k] b[k][j] for `rows` rows and two vectors of columns, kept in registers. */
INLINED void product_tile(int rows, int vectors, elements a, const float *b, size_t ldb, size_t n_k, float *c, size_t ldc)
{
    vector sums[4][2];
    int i, j;
    size_t k;
    for (i = 0; i < rows; i++) {
        for (j = 0; j < vectors; j++) {
            sums[i][j] = (vector){0};
        }
    }
    for (k = 0; k < n_k; k++) {
        vector right[2];
        for (j = 0; j < vectors; j++) {
            right[j] = *const_vector_at(b + k * ldb + (size_t)j * VECTOR_FLOATS);
        }
        for (i = 0; i < rows; i++) {
            float left = a.at[(size_t)i * a.row + k * a.column];
            for (j = 0; j < vectors; j++) {
                sums[i][j] += left * right[j];
            }
        }
    }
    for (i = 0; i < rows; i++) {
        for (j = 0; j < vectors; j++) {
            *vector_at(c + (size_t)i * ldc + (size_t)j * VECTOR_FLOATS) = sums[i][j];
        }
    }
}

INLINED void product_rows(int rows, elements a, const float *b, size_t ldb, size_t n_k, float *c, size_t ldc, size_t n)
{
    size_t j = 0;
    for (; j + 2 * VECTOR_FLOATS <= n; j += 2 * VECTOR_FLOATS) {
        product_tile(rows, 2, a, b + j, ldb, n_k, c + j, ldc);
    }
    if (j < n) {
        product_tile(rows, 1, a, b + j, ldb, n_k, c + j, ldc);
    }
}

/* c = a b: c has m rows of n columns (n padded), b has n_k rows. */
static void product(elements a, const float *b, size_t ldb, float *c, size_t ldc, size_t m, size_t n_k, size_t n)
{
    size_t i = 0;
    for (; i + 4 <= m; i += 4, a.at += 4 * a.row) {
        product_rows(4, a, b, ldb, n_k, c + i * ldc, ldc, n);
    }
    switch (m - i) {
    case 3:
        product_rows(3, a, b, ldb, n_k, c + i * ldc, ldc, n);
        break;
    case 2:
        product_rows(2, a, b, ldb, n_k, c + i * ldc, ldc, n);
        break;
    case 1:
        product_rows(1, a, b, ldb, n_k, c + i * ldc, ldc, n);
        break;
    default:
        break;
    }
}

typedef float four __attribute__((vector_size(16), aligned(4), may_alias));

INLINED float vector_sum(vector x)
{
    four sum = ((four *)&x)[0];
    int i;
    for (i = 1; i < VECTOR_FLOATS / 4; i++) {
        sum += ((four *)&x)[i];
    }
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

INLINED void inner_tile(int rows, int columns, const float *a, const float *b, size_t ld, size_t n_k, float *c, size_t ldc)
{
    vector sums[4][2];
    int i, j;
    size_t k;
    for (i = 0; i < rows; i++) {
        for (j = 0; j < columns; j++) {
            sums[i][j] = (vector){0};
        }
    }
    for (k = 0; k < n_k; k += VECTOR_FLOATS) {
        vector right[2];
        for (j = 0; j < columns; j++) {
            right[j] = *const_vector_at(b + (size_t)j * ld + k);
        }
        for (i = 0; i < rows; i++) {
            vector left = *const_vector_at(a + (size_t)i * ld + k);
            for (j = 0; j < columns; j++) {
                sums[i][j] += left * right[j];
            }
        }
    }
    for (i = 0; i < rows; i++) {
        for (j = 0; j < columns; j++) {
            c[(size_t)i * ldc + (size_t)j] = vector_sum(sums[i][j]);
        }
    }
}

/* c[i][j] = the inner product of row i of a and row j of b, rows of n_k (padded) floats, ld apart. */
static void inner_products(const float *a, const float *b, size_t ld, size_t n_k, float *c, size_t ldc, size_t m, size_t n)
{
    size_t i, j;
    for (i = 0; i < m; i += 4) {
        int rows = m - i < 4 ? (int)(m - i) : 4;
        for (j = 0; j < n; j += 2) {
            const float *left = a + i * ld, *right = b + j * ld;
            float *to = c + i * ldc + j;
            if (rows == 4 && n - j > 1) {
                inner_tile(4, 2, left, right, ld, n_k, to, ldc);
            } else {
                int row;
                for (row = 0; row < rows; row++) {
                    inner_tile(1, 1, left + (size_t)row * ld, right, ld, n_k, to + (size_t)row * ldc, ldc);
                    if (n - j > 1) {
                        inner_tile(1, 1, left + (size_t)row * ld, right + ld, ld, n_k, to + (size_t)row * ldc + 1, ldc);
                    }
                }
            }
        }
    }
}

/* to[j][i] = from[i][j], rows of `to` padded with zeros. */
static void transpose(const float *from, size_t ld_from, size_t rows, size_t columns, float *to, size_t ld_to)
{
    size_t i, j;
    for (j = 0; j < columns; j++) {
        for (i = 0; i < rows; i++) {
            to[j * ld_to + i] = from[i * ld_from + j];
        }
        for (; i < ld_to; i++) {
            to[j * ld_to + i] = 0;
        }
    }
}

INLINED float inner(const float *a, const float *b, size_t n)
{
    vector sum = {0};
    size_t i;
    for (i = 0; i < n; i += VECTOR_FLOATS) {
        sum += *const_vector_at(a + i) * *const_vector_at(b + i);
    }
    return vector_sum(sum);
}

#endif
