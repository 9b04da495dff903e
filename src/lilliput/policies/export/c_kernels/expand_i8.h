#include "count_bits.h"
#include "decode_vectors.h"

#if defined(__BMI2__) && defined(__x86_64__)
#include <immintrin.h>
#endif

/* n codes whose zeros were left out: the next value wherever the mask, lowest bit first, has a one. Returns how many
   values there were. Bits of the last byte beyond n are zero. */
KERNEL size_t expand_i8(const FLASH int8_t *RESTRICT values, const FLASH uint8_t *RESTRICT mask, size_t n, int8_t *RESTRICT codes)
{
    size_t i = 0, next = 0;
#if defined(DECODES_VECTORS)
    for (; i + 64 <= n; i += 64) {
        _mm512_storeu_si512(codes + i, decode_64(8, values, mask + i / 8, &next));
    }
#elif defined(__BMI2__) && defined(__x86_64__)
    const size_t total = count_bits(mask, n);
    for (; i + 8 <= n && next + 8 <= total; i += 8) { /* a byte of the mask gives the places of up to eight values */
        uint64_t places = _pdep_u64(mask[i / 8], 0x0101010101010101u) * 0xffu, eight;
        memcpy(&eight, values + next, 8);
        eight = _pdep_u64(eight, places);
        memcpy(codes + i, &eight, 8);
        next += count_ones(mask[i / 8]);
    }
#endif
    memset(codes + i, 0, n - i);
    for (; i < n; i += 8) {
        unsigned byte = mask[i / 8];
        int8_t *to = codes + i;
        for (; byte; byte >>= 1, to++) {
            if (byte & 1u) {
                *to = values[next++];
            }
        }
    }
    return next;
}
