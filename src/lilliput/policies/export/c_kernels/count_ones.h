#include "core.h"

#if defined(__POPCNT__) || defined(__BMI2__) || defined(__aarch64__)
/* How many bits of a word are ones. gcc 12.2 makes vectors of such counts where a processor can count in vectors, and then
   counts the bits of constants wrongly: it is not to know which word it is. */
ALWAYS_INLINE unsigned count_ones(uint64_t word)
{
#if defined(__GNUC__) && !defined(__clang__)
    __asm__("" : "+r"(word));
#endif
    return (unsigned)__builtin_popcountll(word);
}
#endif
