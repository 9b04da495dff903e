#include "count_ones.h"

/* How many of the first n bits are ones; those of the last byte beyond them are zero. */
KERNEL size_t count_bits(const FLASH uint8_t *mask, size_t n)
{
    const size_t bytes = (n + 7) / 8;
    size_t count = 0, i = 0;
#if defined(__POPCNT__) || defined(__aarch64__)
    for (; i + 8 <= bytes; i += 8) {
        uint64_t word;
        memcpy(&word, mask + i, 8);
        count += count_ones(word);
    }
#endif
    for (; i < bytes; i++) {
        unsigned byte = mask[i];
        for (; byte; byte &= byte - 1) {
            count++;
        }
    }
    return count;
}
