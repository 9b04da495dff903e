/* The parts of a setpoint that are used. */
#pragma once
#include <stdbool.h>
typedef enum { modeDisable = 0, modeAbs, modeVelocity } stab_mode_t;
typedef struct {
  float x, y, z;
} velocity_t;
typedef velocity_t point_t;
typedef struct {
  float roll, pitch, yaw;
} attitude_t;
typedef struct {
  attitude_t attitude, attitudeRate;
  point_t position;
  velocity_t velocity;
  bool velocity_body;
  struct {
    stab_mode_t x, y, z, roll, pitch, yaw, quat;
  } mode;
} setpoint_t;
