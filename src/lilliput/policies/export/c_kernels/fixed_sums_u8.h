#include "fixed_sums.h"

FIXED_SUMS(fixed_sums_u8, uint8_t)
