#include "decode_vectors.h"

#if defined(__BMI2__) && defined(__x86_64__)
#include <immintrin.h>
#endif

/* Signed codes `first` to `first + n - 1` of a stream of fields of `bits` bits (2 to 7), lowest bits first. Never reads
   past the last field's byte. */
KERNEL void unpack_codes(const FLASH uint8_t *RESTRICT stream, unsigned bits, size_t first, size_t n, int8_t *RESTRICT codes)
{
    const unsigned sign = 1u << (bits - 1), mask = (1u << bits) - 1;
    const unsigned offset = (unsigned)(first % 8 * bits % 8);
    unsigned window, held;
    size_t i = 0;
    stream += first / 8 * bits + first % 8 * bits / 8;
#if defined(DECODES_VECTORS)
    for (; i < n; i += 64, stream += 8 * bits) {
        const size_t left = n - i < 64 ? n - i : 64;
        const __m512i x = spread_fields(bits, offset, first_bytes(stream, (offset + left * bits + 7) / 8));
        if (left == 64) {
            _mm512_storeu_si512(codes + i, x);
        } else {
            _mm512_mask_storeu_epi8(codes + i, _cvtu64_mask64(_bzhi_u64(~(uint64_t)0, (unsigned)left)), x);
            return;
        }
    }
#elif defined(__BMI2__) && defined(__x86_64__)
    {
        const uint64_t ones = 0x0101010101010101u;
        for (; (n - i) * bits + offset >= 64; i += 8, stream += bits) { /* eight fields lie in the next eight bytes */
            uint64_t eight;
            memcpy(&eight, stream, 8);
            eight = _pdep_u64(eight >> offset, ones * mask) ^ ones * sign;
            eight = ((eight | ones * 0x80u) - ones * sign) ^ ones * 0x80u; /* no byte borrows from the next */
            memcpy(codes + i, &eight, 8);
        }
    }
#endif
    if (i == n) {
        return;
    }
    held = 8 - offset;
    window = (unsigned)*stream++ >> offset;
    for (; i < n; i++) {
        if (held < bits) {
            window |= (unsigned)*stream++ << held;
            held += 8;
        }
        codes[i] = (int8_t)((int)((window & mask) ^ sign) - (int)sign);
        window >>= bits;
        held -= bits;
    }
}
