#include "core.h"

/* The sums of a block of `rows` rows, at most 16, of the products of packed weights of 2 to 7 bits, whose columns stand
   four by four, and codes less `zero_point`. Fields are read where they are, four at a time, and never past `end`. One
   with its sign bit flipped is its weight plus that bit's value: what this adds goes off at the end. Sums wrap, which
   does no harm: the last one fits. */
KERNEL void packed_sums(const uint8_t *RESTRICT stream, const uint8_t *end, unsigned bits, size_t rows, size_t width,
                        const uint8_t *RESTRICT codes, int32_t zero_point, int32_t *RESTRICT sums)
{
    const uint32_t sign = 1u << (bits - 1), mask = (1u << bits) - 1;
    const uint32_t flips = sign | sign << bits | sign << 2 * bits | sign << 3 * bits;
    const uint32_t zero = (uint32_t)zero_point;
    uint32_t added = 0;
    size_t row, column;
    unsigned bit = 0;
    for (row = 0; row < rows; row++) {
        sums[row] = 0;
    }
    for (column = 0; column < width; column += 4, codes += 4) {
        const unsigned n = width - column < 4 ? (unsigned)(width - column) : 4;
        const uint32_t x0 = codes[0] - zero, x1 = n > 1 ? codes[1] - zero : 0;
        const uint32_t x2 = n > 2 ? codes[2] - zero : 0, x3 = n > 3 ? codes[3] - zero : 0;
        added += x0 + x1 + x2 + x3;
        for (row = 0; row < rows; row++, bit += n * bits) {
            const uint8_t *at = stream + bit / 8;
            uint32_t fields = at[0];
            if (end - at >= 4) {
                fields |= (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
            } else {
                fields |= end - at > 1 ? (uint32_t)at[1] << 8 : 0;
                fields |= end - at > 2 ? (uint32_t)at[2] << 16 : 0;
            }
            fields = fields >> bit % 8 ^ flips;
            fields = (fields & mask) * x0 + (fields >> bits & mask) * x1 + (fields >> 2 * bits & mask) * x2
                     + (fields >> 3 * bits & mask) * x3;
            sums[row] = (int32_t)((uint32_t)sums[row] + fields);
        }
    }
    for (row = 0; row < rows; row++) {
        sums[row] = (int32_t)((uint32_t)sums[row] - added * sign);
    }
}
