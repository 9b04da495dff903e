#include "fixed_tanh.h"

/* x = tanh(x), in units of 2^-16: see fixed_tanh. */
KERNEL void fixed_tanh_all(int32_t *x, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++) {
        x[i] = fixed_tanh(x[i]);
    }
}
