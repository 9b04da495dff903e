/* Times decisions, reading and multiplying without Python: compiled beside a policy by latency.py, which gives NUMBER, BYTES,
   CALLS and CODES. */
#define _POSIX_C_SOURCE 199309L
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#if defined(__AVX512VNNI__) || defined(__AVX2__)
#include <immintrin.h>
#endif
#include "policy.h"
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}
static float y[POLICY_ACTION_SIZE];
/* Reads n words in order. */
static uint64_t plain_read(const uint64_t *memory, size_t n)
{
    uint64_t sum = 0;
    size_t i = 0;
#if defined(__AVX512VNNI__)
    __m512i s = _mm512_setzero_si512(), t = s, u = s, v = s;
    for (; i + 32 <= n; i += 32) {
        s = _mm512_add_epi64(s, _mm512_loadu_si512(memory + i));
        t = _mm512_add_epi64(t, _mm512_loadu_si512(memory + i + 8));
        u = _mm512_add_epi64(u, _mm512_loadu_si512(memory + i + 16));
        v = _mm512_add_epi64(v, _mm512_loadu_si512(memory + i + 24));
    }
    sum = (uint64_t)_mm512_reduce_add_epi64(_mm512_add_epi64(_mm512_add_epi64(s, t), _mm512_add_epi64(u, v)));
#elif defined(__AVX2__)
    __m256i s[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
    const __m256i *from = (const __m256i *)(const void *)memory;
    int k;
    for (; i + 16 <= n; i += 16, from += 4) {
        _Pragma("GCC unroll 4") for (k = 0; k < 4; k++) { s[k] = _mm256_add_epi64(s[k], _mm256_loadu_si256(from + k)); }
    }
    s[0] = _mm256_add_epi64(_mm256_add_epi64(s[0], s[1]), _mm256_add_epi64(s[2], s[3]));
    sum = (uint64_t)_mm256_extract_epi64(s[0], 0) + (uint64_t)_mm256_extract_epi64(s[0], 1);
    sum += (uint64_t)_mm256_extract_epi64(s[0], 2) + (uint64_t)_mm256_extract_epi64(s[0], 3);
#endif
    for (; i < n; i++) { sum += memory[i]; }
    return sum;
}

/* How many products a vector of codes or floats has. */
#if defined(__AVX2__) && !defined(__AVX512VNNI__)
#define PRODUCTS (CODES ? 16 : 8)
#else
#define PRODUCTS (CODES ? 64 : 16)
#endif

/* Multiplies and adds 10 * n vectors of CODES or floats that stay in registers; 0 where there are no such vectors. */
static size_t plain_multiply(size_t n)
{
#if defined(__AVX512VNNI__)
    size_t i;
    int k;
#if CODES
    __m512i s[10];
    for (k = 0; k < 10; k++) { s[k] = _mm512_set1_epi32(k); }
    for (i = 0; i < n; i++) {
        _Pragma("GCC unroll 10") for (k = 0; k < 10; k++) { s[k] = _mm512_dpbusd_epi32(s[k], s[k], s[k]); }
    }
    for (k = 1; k < 10; k++) { s[0] = _mm512_add_epi32(s[0], s[k]); }
    y[0] += (float)_mm512_reduce_add_epi32(s[0]);
#else
    __m512 s[10];
    const __m512 half = _mm512_set1_ps(0.5f);
    for (k = 0; k < 10; k++) { s[k] = _mm512_set1_ps((float)k); }
    for (i = 0; i < n; i++) {
        _Pragma("GCC unroll 10") for (k = 0; k < 10; k++) { s[k] = _mm512_fmadd_ps(s[k], half, half); }
    }
    for (k = 1; k < 10; k++) { s[0] = _mm512_add_ps(s[0], s[k]); }
    y[0] += _mm512_reduce_add_ps(s[0]);
#endif
    return 10 * n;
#elif defined(__AVX2__)
    size_t i;
    int k;
#if CODES
    __m256i s[10];
    for (k = 0; k < 10; k++) { s[k] = _mm256_set1_epi32(k); }
    for (i = 0; i < n; i++) {
        _Pragma("GCC unroll 10") for (k = 0; k < 10; k++) { s[k] = _mm256_add_epi32(s[k], _mm256_madd_epi16(s[k], s[k])); }
    }
    for (k = 1; k < 10; k++) { s[0] = _mm256_add_epi32(s[0], s[k]); }
    y[0] += (float)_mm256_extract_epi32(s[0], 0);
#else
    __m256 s[10];
    const __m256 half = _mm256_set1_ps(0.5f);
    for (k = 0; k < 10; k++) { s[k] = _mm256_set1_ps((float)k); }
    for (i = 0; i < n; i++) {
        _Pragma("GCC unroll 10") for (k = 0; k < 10; k++) { s[k] = _mm256_fmadd_ps(s[k], half, half); }
    }
    for (k = 1; k < 10; k++) { s[0] = _mm256_add_ps(s[0], s[k]); }
    y[0] += _mm256_cvtss_f32(s[0]);
#endif
    return 10 * n;
#else
    (void)n;
    return 0;
#endif
}

static NUMBER x[POLICY_OBSERVATION_SIZE];
/* Exclusive or takes a cycle; a constant is added in none by processors that fold it into what comes next. */
#define ONE_CYCLE __asm__ volatile("" : "+r"(chain), "+r"(other)); chain ^= other;
int main(void)
{
    const size_t n = BYTES / 8;
    volatile uint64_t sink;
    uint64_t *memory = (uint64_t *)(((uintptr_t)malloc(8 * n + 64) + 63) & ~(uintptr_t)63), sum = 0, chain = 1, other = 3;
    double act = 1e9, read = 1e9, cycles = 1e9, vector = 1e9, start;
    size_t round, i, vectors;
    for (i = 0; i < POLICY_OBSERVATION_SIZE; i++) { x[i] = (NUMBER)(i % 7); }
    for (i = 0; i < n; i++) { memory[i] = i; }
    for (round = 0; round < 100; round++) {
        start = now();
        for (i = 0; i < CALLS; i++) { policy_act(x, y); x[0] = (NUMBER)(y[0] > 0.0f); }
        start = (now() - start) / CALLS;
        act = start < act ? start : act;
        sum += plain_read(memory, n); /* the first pass brings the memory near */
        start = now();
        for (i = 0; i < 4; i++) { __asm__ volatile("" : : : "memory"); sum += plain_read(memory, n); }
        start = (now() - start) / 4;
        read = start < read ? start : read;
        start = now();
        for (i = 0; i < 10000; i++) { ONE_CYCLE ONE_CYCLE ONE_CYCLE ONE_CYCLE }
        start = (now() - start) / 40000;
        cycles = start < cycles ? start : cycles;
        start = now();
        vectors = plain_multiply(1000);
        start = vectors ? (now() - start) / (double)vectors : cycles / 2;
        vector = start < vector ? start : vector;
    }
    sink = sum + chain;
    (void)sink;
    printf("%g %g %g %g %d\n", act, read / (8 * (double)n), cycles, vector, PRODUCTS);
    return 0;
}
