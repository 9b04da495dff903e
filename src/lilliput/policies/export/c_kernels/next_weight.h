#include "core.h"
#include "half_to_float.h"

/* Where the next weight stands: how many numbers or bytes were read, and the bits of the last byte that are left. */
typedef struct {
    size_t at;
    unsigned window, held;
} weight_place;

/* The next weight as a code of 8 or fewer bits. */
ALWAYS_INLINE int next_code(const unsigned bits, const FLASH void *values, weight_place *place)
{
    if (bits == 8) {
        return ((const FLASH int8_t *)values)[place->at++];
    } else {
        const unsigned sign = 1u << (bits - 1), mask = (1u << bits) - 1;
        int code;
        if (place->held < bits) {
            place->window |= (unsigned)((const FLASH uint8_t *)values)[place->at++] << place->held;
            place->held += 8;
        }
        code = (int)((place->window & mask) ^ sign) - (int)sign;
        place->window >>= bits;
        place->held -= bits;
        return code;
    }
}

/* The next weight as a float: of a float (32 bits), half precision (16) or a code (8 or fewer). */
ALWAYS_INLINE float next_weight(const unsigned bits, const FLASH void *values, weight_place *place)
{
    if (bits == 32) {
        return ((const FLASH float *)values)[place->at++];
    }
    if (bits == 16) {
        return half_value(((const FLASH uint16_t *)values)[place->at++]);
    }
    return (float)next_code(bits, values, place);
}
