#include "core.h"
#include "few_sums.h"

/* The sums of a block of `rows` rows, at most 16, of the products of packed weights of 2 to 7 bits, whose columns stand
   four by four, and codes less `zero_point`. Fields are read where they are, four at a time, and never past the `bytes`
   of the stream. One with its sign bit flipped is its weight plus that bit's value: what this adds goes off at the end.
   Sums wrap, which does no harm: the last one fits. */
#if defined(FEW_SUMS)
KERNEL void packed_sums(const FLASH uint8_t *RESTRICT stream, size_t bytes, unsigned bits, size_t rows, size_t width,
                        const uint8_t *RESTRICT codes, int32_t zero_point, int32_t *RESTRICT sums)
{
    (void)bytes;
    few_sums(bits, stream, rows, width, codes, zero_point, sums);
}
#else
KERNEL void packed_sums(const FLASH uint8_t *RESTRICT stream, size_t bytes, unsigned bits, size_t rows, size_t width,
                        const uint8_t *RESTRICT codes, int32_t zero_point, int32_t *RESTRICT sums)
{
    const uint32_t sign = (uint32_t)1 << (bits - 1), mask = ((uint32_t)1 << bits) - 1;
    const uint32_t flips = sign | sign << bits | sign << 2 * bits | sign << 3 * bits;
    const uint32_t zero = (uint32_t)zero_point;
    uint32_t added = 0;
    size_t row, column, at = 0;
    unsigned bit = 0; /* of the byte at `at` */
    for (row = 0; row < rows; row++) {
        sums[row] = 0;
    }
    for (column = 0; column < width; column += 4, codes += 4) {
        const unsigned n = width - column < 4 ? (unsigned)(width - column) : 4;
        const uint32_t x0 = codes[0] - zero, x1 = n > 1 ? codes[1] - zero : 0;
        const uint32_t x2 = n > 2 ? codes[2] - zero : 0, x3 = n > 3 ? codes[3] - zero : 0;
        added += x0 + x1 + x2 + x3;
        for (row = 0; row < rows; row++) {
            uint32_t fields = stream[at];
            if (bytes - at >= 4) {
                fields |= (uint32_t)stream[at + 1] << 8 | (uint32_t)stream[at + 2] << 16 | (uint32_t)stream[at + 3] << 24;
            } else {
                fields |= bytes - at > 1 ? (uint32_t)stream[at + 1] << 8 : 0;
                fields |= bytes - at > 2 ? (uint32_t)stream[at + 2] << 16 : 0;
            }
            fields = fields >> bit ^ flips;
            fields = (fields & mask) * x0 + (fields >> bits & mask) * x1 + (fields >> 2 * bits & mask) * x2
                     + (fields >> 3 * bits & mask) * x3;
            sums[row] = (int32_t)((uint32_t)sums[row] + fields);
            bit += n * bits;
            at += bit / 8;
            bit %= 8;
        }
    }
    for (row = 0; row < rows; row++) {
        sums[row] = (int32_t)((uint32_t)sums[row] - added * sign);
    }
}
#endif
