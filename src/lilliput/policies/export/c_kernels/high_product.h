#include "core.h"

/* The upper half of a product of 64 bits, rounded down. Where a processor multiplies no more than 32 bits, by halves. */
#if defined(__ARM_ARCH_6M__) || defined(__AVR__) || defined(__MSP430__)
KERNEL_ALONE int32_t high_product(int32_t a, int32_t b)
{
    const uint32_t a_low = (uint32_t)a & 0xffff, b_low = (uint32_t)b & 0xffff;
    const int32_t a_high = a >> 16, b_high = b >> 16;
    const int32_t one = a_high * (int32_t)b_low + (int32_t)(a_low * b_low >> 16);
    const int32_t other = b_high * (int32_t)a_low + (one & 0xffff);
    return a_high * b_high + (one >> 16) + (other >> 16);
}
#else
ALWAYS_INLINE int32_t high_product(int32_t a, int32_t b)
{
    return (int32_t)((int64_t)a * b >> 32);
}
#endif
