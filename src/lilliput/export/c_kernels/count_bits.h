#include "core.h"

/* How many of n bits from `bit` on are ones, lowest bit of a byte first. */
KERNEL size_t count_bits(const uint8_t *mask, size_t bit, size_t n)
{
    size_t count = 0, end = bit + n;
    for (; bit < end; bit++) {
        count += mask[bit / 8] >> (bit % 8) & 1u;
    }
    return count;
}
