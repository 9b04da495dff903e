#include "expand_i8.h"
#include "tile.h"
#include "unpack_codes.h"

#if !defined(FLASH_APART) /* what is decoded stands in memory, what is not in flash: no pointer is to both */
/* n weights as codes. Values have `bits` bits (8 or fewer); `first` of them were taken before. The mask says which of
   the n were kept, NULL (with fewer than 8 bits) that all were. Returns how many values were taken. */
ALWAYS_INLINE size_t decode_codes(const unsigned bits, const FLASH void *RESTRICT values, const FLASH uint8_t *RESTRICT mask,
                                  size_t first, size_t n, int8_t *RESTRICT codes)
{
    size_t i, taken = 0;
    if (bits == 8) {
        return expand_i8((const FLASH int8_t *)values + first, mask, n, codes);
    }
    if (mask == NULL) {
        unpack_codes((const FLASH uint8_t *)values, bits, first, n, codes);
        return n;
    }
    for (i = 0; i < n; i += TILE) {
        const size_t some = n - i < TILE ? n - i : TILE, count = count_bits(mask + i / 8, some);
        int8_t kept[TILE];
        unpack_codes((const FLASH uint8_t *)values, bits, first + taken, count, kept);
        taken += expand_i8(kept, mask + i / 8, some, codes + i);
    }
    return taken;
}
#endif
