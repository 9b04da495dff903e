#include "fixed_codes_wide.h"

FIXED_CODES_WIDE(fixed_codes_wide_i16, int16_t)
