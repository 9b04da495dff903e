#include "core.h"

/* The real number that a sum of products of codes stands for. */
KERNEL float real_sum(int32_t sum, float scale, const float *bias, size_t row)
{
    float y = (float)sum * scale;
    return bias ? y + bias[row] : y;
}
