#pragma once
#include "stabilizer_types.h"
void commanderSetSetpoint(setpoint_t *setpoint, int priority);
