#include "core.h"

/* The sum of the values of a row, each times the number of x at its column. */
KERNEL float indexed_u8_f32(const FLASH float *RESTRICT values, const FLASH uint8_t *RESTRICT columns, size_t count,
                     const float *RESTRICT x)
{
    float s0 = 0.0f, s1 = 0.0f, s2 = 0.0f, s3 = 0.0f;
    for (; count >= 4; count -= 4) { /* four sums: one would wait for each addition */
        s0 = multiply_add(*values++, x[*columns++], s0);
        s1 = multiply_add(*values++, x[*columns++], s1);
        s2 = multiply_add(*values++, x[*columns++], s2);
        s3 = multiply_add(*values++, x[*columns++], s3);
    }
    for (; count > 0; count--) {
        s0 = multiply_add(*values++, x[*columns++], s0);
    }
    return (s0 + s1) + (s2 + s3);
}
