#include "fixed_codes.h"

FIXED_CODES(fixed_codes_i32, int32_t)
