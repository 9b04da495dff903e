#include "next_weight.h"

/* sums = weight x, of weights of `bits` bits (8 or fewer) row after row and integers x of any type. The sums fit 32 bits.
   Bytes are counted down, which takes the fewest instructions on ARMv6-M where the compiler does not know the width: of
   one that it knows it makes pointers, and an index of zero for each. */
#if defined(__ARM_ARCH_6M__)
#define FORGET(number) __asm__("" : "+r"(number))
#else
#define FORGET(number) (void)0
#endif
#define FIXED_SUMS(name, number) \
    KERNEL void name(const unsigned bits, const FLASH void *RESTRICT weight, size_t rows, size_t width, \
                     const number *RESTRICT x, int32_t *RESTRICT sums) \
    { \
        const int32_t *const end = sums + rows; \
        const FLASH int8_t *bytes = (const FLASH int8_t *)weight; \
        weight_place place = {0, 0, 0}; \
        FORGET(width); \
        for (; sums != end; bytes += width) { \
            int32_t sum = 0; \
            if (bits == 8) { \
                ptrdiff_t i = (ptrdiff_t)width - 1; \
                do { \
                    sum += (int32_t)bytes[i] * x[i]; \
                } while (--i >= 0); \
            } else { \
                size_t i; \
                for (i = 0; i < width; i++) { \
                    sum += (int32_t)next_code(bits, weight, &place) * x[i]; \
                } \
            } \
            *sums++ = sum; \
        } \
    }
