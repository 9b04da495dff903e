#include "core.h"

#if defined(__AVX512VBMI__)
#include <immintrin.h>
#define LOOK_UP_64
#define TABLE_PARTS 4
typedef __m512i table_part;
/* 64 entries of a table of 256, which is given as four vectors. */
ALWAYS_INLINE __m512i look_up_64(const table_part *quarters, __m512i at)
{
    const __m512i low = _mm512_permutex2var_epi8(quarters[0], at, quarters[1]);
    const __m512i high = _mm512_permutex2var_epi8(quarters[2], at, quarters[3]);
    return _mm512_mask_blend_epi8(_mm512_movepi8_mask(at), low, high);
}

ALWAYS_INLINE void load_table(const uint8_t *table, table_part *quarters)
{
    int i;
    for (i = 0; i < 4; i++) {
        quarters[i] = _mm512_loadu_si512(table + 64 * i);
    }
}
#elif defined(__AVX2__)
#include <immintrin.h>
#define LOOK_UP_32
#define TABLE_PARTS 16
typedef __m256i table_part;
/* What tells sixteen entries of a table of 256 from the sixteen before; counted anew from the middle. */
ALWAYS_INLINE void load_table(const uint8_t *table, table_part *steps)
{
    int i;
    for (i = 0; i < 16; i++) {
        const __m128i here = _mm_loadu_si128((const __m128i *)(const void *)(table + 16 * i));
        const __m128i before = _mm_loadu_si128((const __m128i *)(const void *)(table + (i ? 16 * (i - 1) : 0)));
        steps[i] = _mm256_broadcastsi128_si256(i % 8 ? _mm_xor_si128(here, before) : here);
    }
}

/* 32 entries: all steps up to the sixteen in which one is. Shuffles give 0 for what is negative. */
ALWAYS_INLINE __m256i look_up_32(const table_part *steps, __m256i at)
{
    __m256i low = at, high = _mm256_xor_si256(at, _mm256_set1_epi8(-128)), found = _mm256_setzero_si256();
    int i;
    UNROLL for (i = 0; i < 8; i++) {
        found = _mm256_xor_si256(found, _mm256_shuffle_epi8(steps[i], low));
        found = _mm256_xor_si256(found, _mm256_shuffle_epi8(steps[8 + i], high));
        low = _mm256_subs_epi8(low, _mm256_set1_epi8(16));
        high = _mm256_subs_epi8(high, _mm256_set1_epi8(16));
    }
    return found;
}
#endif

/* codes = the entries of a table for bytes. */
KERNEL void look_up(const uint8_t *RESTRICT bytes, size_t n, const uint8_t *RESTRICT table, uint8_t *RESTRICT codes)
{
    size_t whole = 0, i;
#if defined(LOOK_UP_64)
    table_part parts[TABLE_PARTS];
    load_table(table, parts);
    whole = n - n % 64;
    for (i = 0; i < whole; i += 64) {
        _mm512_storeu_si512(codes + i, look_up_64(parts, _mm512_loadu_si512(bytes + i)));
    }
#elif defined(LOOK_UP_32)
    table_part parts[TABLE_PARTS];
    load_table(table, parts);
    whole = n - n % 32;
    for (i = 0; i < whole; i += 32) {
        const __m256i at = _mm256_loadu_si256((const __m256i *)(const void *)(bytes + i));
        _mm256_storeu_si256((__m256i *)(void *)(codes + i), look_up_32(parts, at));
    }
#endif
    for (i = whole; i < n; i++) {
        codes[i] = table[bytes[i]];
    }
}
