#include "fixed_gather.h"

FIXED_GATHER(fixed_gather_i32, int32_t)
