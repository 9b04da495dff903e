#pragma once
#include <uORB/uORB.h>

struct debug_array_s {
	uint64_t timestamp;
	float data[58];
	uint16_t id;
	char name[10];
};
ORB_DEFINED_HERE(debug_array);
