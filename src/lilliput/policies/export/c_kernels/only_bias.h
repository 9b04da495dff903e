#include "stored.h"

/* What a layer gives whose weights are all zero; bias may be NULL. */
KERNEL void only_bias(REALS bias, size_t rows, size_t pixels, float *RESTRICT y)
{
    size_t row, pixel;
    for (pixel = 0; pixel < pixels; pixel++) {
        for (row = 0; row < rows; row++) {
            y[pixel * rows + row] = ANY(bias) ? REAL(bias, row) : 0.0f;
        }
    }
}
