#include "codes_to_float.h"
#include "decode_codes.h"
#include "expand_f32.h"
#include "half_to_float.h"

#if !defined(FLASH_APART) /* what is decoded stands in memory, what is not in flash: no pointer is to both */
/* n weights as floats. Values are floats (32 bits), half precision (16) or codes (8 or fewer); `first` of them were taken
   before. The mask says which of the n were kept, NULL that all were. Returns how many values were taken. */
ALWAYS_INLINE size_t decode_floats(const unsigned bits, const FLASH void *RESTRICT values, const FLASH uint8_t *RESTRICT mask,
                                   size_t first, size_t n, float *RESTRICT weights)
{
    size_t i, taken = 0;
    if (bits == 32) {
        return expand_f32((const FLASH float *)values + first, mask, n, weights);
    }
    if (bits == 16 && mask == NULL) {
        half_to_float((const FLASH uint16_t *)values + first, n, weights);
        return n;
    }
    for (i = 0; i < n; i += TILE) {
        const size_t some = n - i < TILE ? n - i : TILE;
        const FLASH uint8_t *part = mask == NULL ? mask : mask + i / 8;
        if (bits == 16) {
            float kept[TILE];
            half_to_float((const FLASH uint16_t *)values + first + taken, count_bits(part, some), kept);
            taken += expand_f32(kept, part, some, weights + i);
        } else if (bits == 8 && mask == NULL) {
            codes_to_float((const FLASH int8_t *)values + first + taken, some, weights + i);
            taken += some;
        } else {
            int8_t codes[TILE];
            taken += decode_codes(bits, values, part, first + taken, some, codes);
            codes_to_float(codes, some, weights + i);
        }
    }
    return taken;
}
#endif
