#include "rows_to_codes.h"

/* Steps of the codes of a curved activation. first[b]: how many steps lie below the b-th of 256 bins, modulo 256;
   steps[c]: the smallest value beyond the step c; a bin is 2^shift values wide and holds at most 7 steps. */
typedef struct {
    const FLASH uint8_t *first;
    const FLASH int32_t *steps;
    int shift;
} code_table;

/* The next layer's codes, by the table, of the values offset + sum * multiplier / 2^20, rounded down, of sums in units
   of 2^-sum_shift. Codes fall for `falling` steps, to `low`, and rise from there; without any, a code is how many steps
   are passed. From the bin `late` on 256 steps more lie below a bin. */
ALWAYS_INLINE void rows_to_table(const int32_t *RESTRICT sums, size_t n, const int sum_shift,
                                 const FLASH requantize_row *RESTRICT by, code_table table, int32_t late, int32_t falling,
                                 int32_t low, uint8_t *RESTRICT next)
{
    const int32_t *const end = sums + n;
    for (; sums < end; sums++, by++) {
        const int64_t product = (int64_t)*sums * by->multiplier;
        const int32_t value = by->offset + (int32_t)(product >> (20 + sum_shift));
        const int32_t wide = value >> table.shift, bin = wide < 0 ? 0 : wide > 255 ? 255 : wide;
        const FLASH int32_t *step = table.steps + table.first[bin] + (bin >= late ? 256 : 0);
        int32_t passed;
        step += value >= step[3] ? 4 : 0; /* how many of the next 7 steps are passed */
        step += value >= step[1] ? 2 : 0;
        step += value >= step[0] ? 1 : 0;
        passed = (int32_t)(step - table.steps);
        if (falling) {
            passed = low + (passed < falling ? falling - passed : passed - falling);
        }
        *next++ = (uint8_t)passed;
    }
}
