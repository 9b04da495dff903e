#include "core.h"

/* Signed codes `first` to `first + n - 1` of a stream of fields of `bits` bits (2 to 7), lowest bits first. */
KERNEL void unpack_codes(const uint8_t *RESTRICT stream, unsigned bits, size_t first, size_t n, int8_t *RESTRICT codes)
{
    const unsigned sign = 1u << (bits - 1), mask = (1u << bits) - 1;
    size_t bit = first * bits;
    unsigned window, held;
    size_t i;
    if (n == 0) {
        return;
    }
    stream += bit / 8;
    held = 8 - (unsigned)(bit % 8);
    window = (unsigned)*stream++ >> (bit % 8);
    for (i = 0; i < n; i++) {
        if (held < bits) { /* never reads past the last field's byte */
            window |= (unsigned)*stream++ << held;
            held += 8;
        }
        codes[i] = (int8_t)((int)((window & mask) ^ sign) - (int)sign);
        window >>= bits;
        held -= bits;
    }
}
