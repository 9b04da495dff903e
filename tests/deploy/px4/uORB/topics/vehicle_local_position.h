#pragma once
#include <uORB/uORB.h>

struct vehicle_local_position_s { // the part that is used
	uint64_t timestamp;
	uint64_t timestamp_sample;
	float x, y, z;
	float vx, vy, vz;
};
ORB_DEFINED_HERE(vehicle_local_position);
