#include "fixed_sums.h"

FIXED_SUMS(fixed_sums_i32, int32_t)
