#include "half_to_float.h"

/* Small constants: real numbers that may be stored in half precision, and zero points of 8, 16 or 32 bits. Without a float
   unit each is decoded where it stands, which takes no working memory. Elsewhere all are decoded before, and stand in
   arrays of which compilers make vectors. ANY: whether there are any, which a layer may do without. */
#if LILLIPUT_SOFT_FLOATS
typedef struct {
    const FLASH void *at;
    unsigned bits;
} stored;

KERNEL stored stored_as(const FLASH void *at, unsigned bits)
{
    stored found;
    found.at = at;
    found.bits = bits;
    return found;
}

KERNEL float stored_real(stored reals, size_t i)
{
#if STORES_HALVES
    if (reals.bits == 16) {
        return half_value(((const FLASH uint16_t *)reals.at)[i]);
    }
#endif
    return ((const FLASH float *)reals.at)[i];
}

KERNEL stored stored_from(stored reals, size_t i)
{
    return stored_as((const FLASH uint8_t *)reals.at + i * (reals.bits / 8), reals.bits);
}

KERNEL int32_t stored_zero(stored zeros, size_t i)
{
    switch (zeros.bits) {
    case 8:
        return ((const FLASH uint8_t *)zeros.at)[i];
    case 16:
        return ((const FLASH int16_t *)zeros.at)[i];
    default:
        return ((const FLASH int32_t *)zeros.at)[i];
    }
}

#define REALS stored
#define FLOATS(array) stored_as(array, 32)
#define DECODE_HALVES(array, n, floats) (void)0
#define HALVES(array, floats) stored_as(array, 16)
#define NO_REALS stored_as(NULL, 32)
#define ANY(reals) ((reals).at != NULL)
#define REAL(reals, i) stored_real(reals, i)
#define REALS_FROM(reals, i) stored_from(reals, i)
#define REALS_FROM_ANY(reals, i) (ANY(reals) ? stored_from(reals, i) : (reals))
#define ZEROS stored
#define DECODE_ZEROS_8(array, n, zeros) (void)0
#define DECODE_ZEROS_16(array, n, zeros) (void)0
#define ZEROS_8(array, zeros) stored_as(array, 8)
#define ZEROS_16(array, zeros) stored_as(array, 16)
#define ZEROS_32(array) stored_as(array, 32)
#define ZERO(zeros, i) stored_zero(zeros, i)
#else
#define REALS const float *RESTRICT
#define FLOATS(array) (array)
#define DECODE_HALVES(array, n, floats) half_to_float(array, n, floats)
#define HALVES(array, floats) (floats)
#define NO_REALS NULL
#define ANY(reals) ((reals) != NULL)
#define REAL(reals, i) (reals)[i]
#define REALS_FROM(reals, i) ((reals) + (i))
#define REALS_FROM_ANY(reals, i) ((reals) ? (reals) + (i) : (reals))
#define ZEROS const int32_t *RESTRICT
#define DECODE_ZEROS_8(array, n, zeros) widen_u8(array, n, zeros)
#define DECODE_ZEROS_16(array, n, zeros) widen_i16(array, n, zeros)
#define ZEROS_8(array, zeros) (zeros)
#define ZEROS_16(array, zeros) (zeros)
#define ZEROS_32(array) (array)
#define ZERO(zeros, i) (zeros)[i]
#endif
