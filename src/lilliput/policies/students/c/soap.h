/* SOAP: Adam in the eigenbasis of Shampoo's preconditioner (Vyas et al. 2024, arXiv:2409.11321), of one matrix. */
#ifndef SOAP_H
#define SOAP_H

#include <math.h>

#include "products.h"

#define SOAP_BETA 0.95f
#define SOAP_EPSILON 1e-8f
#define SOAP_FREQUENCY 10

/* What the optimizer remembers of one matrix of m rows and n columns. Rows of n columns are padded(n) apart, rows of m
   columns padded(m). A basis has its vectors in rows. */
typedef struct {
    float *first, *second;           /* m x n */
    float *left, *left_basis;        /* m x m */
    float *right, *right_basis;      /* n x n */
    float *right_transposed;         /* n x n */
} soap_state;

static size_t soap_floats(size_t m, size_t n)
{
    return 2 * m * padded(n) + 2 * m * padded(m) + 3 * n * padded(n);
}

/* Scratch of a step. */
static size_t soap_scratch_floats(size_t m, size_t n)
{
    size_t most = m > n ? m : n;
    return 3 * m * padded(n) + n * padded(m) + 2 * most * padded(most) + 2 * padded(most);
}

static soap_state soap_state_at(float *at, size_t m, size_t n)
{
    soap_state state;
    state.first = at;
    state.second = state.first + m * padded(n);
    state.left = state.second + m * padded(n);
    state.left_basis = state.left + m * padded(m);
    state.right = state.left_basis + m * padded(m);
    state.right_basis = state.right + n * padded(n);
    state.right_transposed = state.right_basis + n * padded(n);
    return state;
}

static void mix(float *old, const float *new, size_t n, float share)
{
    size_t i;
    for (i = 0; i < n; i++) {
        old[i] += share * (new[i] - old[i]);
    }
}

/* The rows of a (n x n) orthonormalized in their order by Householder reflections; a is overwritten. Robust where rows
   depend on each other: any orthonormal rest will do there. */
static void orthonormalize(float *a, size_t n, size_t ld, float *rows, float *norms)
{
    size_t j, k, c;
    for (j = 0; j < n; j++) {
        float *v = a + j * ld;
        float most = 0, length, beta;
        /* A reflection leaves the columns before its own alone. */
        for (c = 0; c < n; c++) {
            v[c] = c < j ? 0 : v[c];
            most = fabsf(v[c]) > most ? fabsf(v[c]) : most;
        }
        norms[j] = 0;
        if (!(most > 1e-30f)) {
            continue;
        }
        for (c = 0; c < n; c++) {
            v[c] /= most;
        }
        length = sqrtf(inner(v, v, ld));
        v[j] += v[j] > 0 ? length : -length;
        beta = 2.0f / inner(v, v, ld);
        norms[j] = beta;
        for (k = j + 1; k < n; k++) {
            float *row = a + k * ld;
            float share = -beta * inner(row, v, ld);
            for (c = 0; c < ld; c += VECTOR_FLOATS) {
                *vector_at(row + c) += share * *const_vector_at(v + c);
            }
        }
    }
    memset(rows, 0, n * ld * sizeof(float));
    for (k = 0; k < n; k++) {
        rows[k * ld + k] = 1;
    }
    for (j = n; j-- > 0;) {
        const float *v = a + j * ld;
        if (norms[j] == 0) {
            continue;
        }
        for (k = j; k < n; k++) {
            float *row = rows + k * ld;
            float share = -norms[j] * inner(row, v, ld);
            for (c = 0; c < ld; c += VECTOR_FLOATS) {
                *vector_at(row + c) += share * *const_vector_at(v + c);
            }
        }
    }
    memcpy(a, rows, n * ld * sizeof(float));
}

/* One power iteration turns the basis (vectors in rows) towards the eigenvectors, the largest first; order[i] is where
   the vector of row i was before. */
static void turn(const float *matrix, float *basis, size_t n, float *scratch, size_t *order)
{
    size_t ld = padded(n), i, j;
    float *turned = scratch, *rows = turned + n * ld, *values = rows + n * ld;
    product((elements){basis, ld, 1}, matrix, ld, turned, ld, n, n, ld);
    for (i = 0; i < n; i++) {
        values[i] = inner(basis + i * ld, turned + i * ld, ld);
        for (j = i; j > 0 && values[order[j - 1]] < values[i]; j--) {
            order[j] = order[j - 1];
        }
        order[j] = i;
    }
    for (i = 0; i < n; i++) {
        memcpy(basis + i * ld, turned + order[i] * ld, ld * sizeof(float));
    }
    orthonormalize(basis, n, ld, rows, turned);
}

static void soap_turn(soap_state state, size_t m, size_t n, float *scratch, size_t *order)
{
    size_t ld = padded(n), i, j;
    float *sorted = scratch;
    turn(state.left, state.left_basis, m, scratch, order);
    for (i = 0; i < m; i++) {
        memcpy(sorted + i * ld, state.second + order[i] * ld, ld * sizeof(float));
    }
    memcpy(state.second, sorted, m * ld * sizeof(float));
    turn(state.right, state.right_basis, n, scratch, order);
    transpose(state.right_basis, ld, n, n, state.right_transposed, ld);
    for (i = 0; i < m; i++) {
        for (j = 0; j < n; j++) {
            sorted[j] = state.second[i * ld + order[j]];
        }
        memcpy(state.second + i * ld, sorted, n * sizeof(float));
    }
}

/* One step, the n_steps-th from one, down the gradient (rows padded); the matrix has rows of n without padding. */
static void soap_step(
    soap_state state, float *matrix, const float *gradient, size_t m, size_t n, float rate, long n_steps, float *scratch,
    size_t *order)
{
    size_t ld = padded(n), ld_m = padded(m), i, j;
    float *half = scratch, *rotated = half + m * ld, *momentum = rotated + m * ld, *turned = momentum + m * ld;
    float *rest = turned + n * ld_m;
    float correction = 1.0f - powf(SOAP_BETA, (float)n_steps);
    elements left = {state.left_basis, ld_m, 1};
    mix(state.first, gradient, m * ld, 1 - SOAP_BETA);
    product(left, gradient, ld, half, ld, m, m, ld);
    product((elements){half, ld, 1}, state.right_transposed, ld, rotated, ld, m, n, ld);
    product(left, state.first, ld, half, ld, m, m, ld);
    product((elements){half, ld, 1}, state.right_transposed, ld, momentum, ld, m, n, ld);
    for (i = 0; i < m * ld; i++) {
        state.second[i] = SOAP_BETA * state.second[i] + (1 - SOAP_BETA) * rotated[i] * rotated[i];
        momentum[i] = momentum[i] / correction / (sqrtf(state.second[i] / correction) + SOAP_EPSILON);
    }
    product((elements){momentum, ld, 1}, state.right_basis, ld, half, ld, m, n, ld);
    product((elements){state.left_basis, 1, ld_m}, half, ld, momentum, ld, m, m, ld);
    for (i = 0; i < m; i++) {
        for (j = 0; j < n; j++) {
            matrix[i * n + j] -= rate * momentum[i * ld + j];
        }
    }
    transpose(gradient, ld, m, n, turned, ld_m);
    product((elements){gradient, ld, 1}, turned, ld_m, rest, ld_m, m, n, ld_m);
    mix(state.left, rest, m * ld_m, 1 - SOAP_BETA);
    product((elements){gradient, 1, ld}, gradient, ld, rest, ld, n, m, ld);
    mix(state.right, rest, n * ld, 1 - SOAP_BETA);
    if (n_steps % SOAP_FREQUENCY == 0) {
        soap_turn(state, m, n, scratch, order);
    }
}

#endif
