#include "core.h"

/* The numbers from 0 to 255. */
KERNEL void every_byte(float *values)
{
    int i;
    for (i = 0; i < 256; i++) {
        values[i] = (float)i;
    }
}
