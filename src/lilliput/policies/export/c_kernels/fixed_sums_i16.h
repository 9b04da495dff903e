#include "fixed_sums.h"

FIXED_SUMS(fixed_sums_i16, int16_t)
