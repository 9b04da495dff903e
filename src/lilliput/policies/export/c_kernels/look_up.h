#include "core.h"

#if defined(__AVX512VBMI__)
#include <immintrin.h>
#define LOOK_UP_64
/* 64 entries of a table of 256, which is given as four vectors. */
ALWAYS_INLINE __m512i look_up_64(const __m512i *quarters, __m512i at)
{
    const __m512i low = _mm512_permutex2var_epi8(quarters[0], at, quarters[1]);
    const __m512i high = _mm512_permutex2var_epi8(quarters[2], at, quarters[3]);
    return _mm512_mask_blend_epi8(_mm512_movepi8_mask(at), low, high);
}

ALWAYS_INLINE void load_quarters(const uint8_t *table, __m512i *quarters)
{
    int i;
    for (i = 0; i < 4; i++) {
        quarters[i] = _mm512_loadu_si512(table + 64 * i);
    }
}
#endif

/* codes = the entries of a table for bytes. */
KERNEL void look_up(const uint8_t *RESTRICT bytes, size_t n, const uint8_t *RESTRICT table, uint8_t *RESTRICT codes)
{
    size_t whole = 0, i;
#if defined(LOOK_UP_64)
    __m512i quarters[4];
    load_quarters(table, quarters);
    whole = n - n % 64;
    for (i = 0; i < whole; i += 64) {
        _mm512_storeu_si512(codes + i, look_up_64(quarters, _mm512_loadu_si512(bytes + i)));
    }
#endif
    for (i = whole; i < n; i++) {
        codes[i] = table[bytes[i]];
    }
}
