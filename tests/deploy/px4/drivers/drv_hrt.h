#pragma once
#include <cstdint>

using hrt_abstime = uint64_t;
inline hrt_abstime hrt_absolute_time() { return 1; }
