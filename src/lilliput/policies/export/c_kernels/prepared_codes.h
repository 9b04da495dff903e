#include "split_block_sums.h"
#include "wide_block_sums.h"

#if defined(__SSE2__)
/* Codes as the sums of blocks on x86 take them, made once for all blocks: at most PREPARED_COLUMNS. */
#define PREPARED_COLUMNS 4096
typedef union {
    int16_t wide[PREPARED_COLUMNS];
    uint8_t split[2][PREPARED_COLUMNS];
} prepared_codes;

KERNEL void prepare_codes(const uint8_t *RESTRICT codes, size_t width, int32_t zero_point, prepared_codes *RESTRICT to)
{
    size_t i;
#if defined(__SSSE3__)
    if (zero_point == 0) {
        split_codes(codes, width, to->split[0], to->split[1]);
        for (i = width; i % 4; i++) {
            to->split[0][i] = to->split[1][i] = 0;
        }
        return;
    }
#endif
    for (i = 0; i < width; i++) {
        to->wide[i] = (int16_t)(codes[i] - zero_point);
    }
    for (; i % 4; i++) {
        to->wide[i] = 0;
    }
}

/* The sums of a block of weights and prepared codes. */
KERNEL void prepared_sums(const int8_t *RESTRICT weight, size_t rows, size_t width, const prepared_codes *RESTRICT codes,
                          int32_t zero_point, int32_t sums[1][BLOCK_ROWS])
{
#if defined(__SSSE3__)
    if (zero_point == 0) {
        split_block_sums(weight, rows, width, codes->split[0], codes->split[1], sums[0]);
        return;
    }
#endif
    (void)zero_point;
    wide_block_sums(1, weight, rows, width, codes->wide, 0, sums);
}
#endif
