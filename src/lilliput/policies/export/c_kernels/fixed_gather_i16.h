#include "fixed_gather.h"

FIXED_GATHER(fixed_gather_i16, int16_t)
