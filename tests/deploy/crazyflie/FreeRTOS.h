#pragma once
#include <stdint.h>
typedef uint32_t TickType_t;
#define configTICK_RATE_HZ 1000
#define M2T(X) ((unsigned int)((X) * (configTICK_RATE_HZ / 1000.0)))
