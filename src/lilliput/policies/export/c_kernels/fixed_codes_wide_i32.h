#include "fixed_codes_wide.h"

FIXED_CODES_WIDE(fixed_codes_wide_i32, int32_t)
