#include "fixed_codes.h"

FIXED_CODES(fixed_codes_i16, int16_t)
