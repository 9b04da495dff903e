/* Flies by the policy that the parameter policy.active names (1 track, 2 hover), 100 decisions a second. With 0 it sends
   nothing, and whoever else commands does. */

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "app.h"

#include "FreeRTOS.h"
#include "task.h"

#include "commander.h"
#include "log.h"
#include "param.h"
#include "stabilizer_types.h"

#define DEBUG_MODULE "POLICY"
#include "debug.h"

#include "hover.h"
#include "track.h"

_Static_assert(TRACK_OBSERVATION_SIZE == 6 && TRACK_ACTION_SIZE == 3, "see observe and command");
_Static_assert(HOVER_OBSERVATION_SIZE == 6 && HOVER_ACTION_SIZE == 3, "see observe and command");

#define HEIGHT_M 0.5f
#define PRIORITY 3

static uint8_t active = 0;

static const char *const names[TRACK_OBSERVATION_SIZE][2] = {
    {"stateEstimate", "x"},  {"stateEstimate", "y"},  {"stateEstimate", "z"},
    {"stateEstimate", "vx"}, {"stateEstimate", "vy"}, {"stateEstimate", "vz"},
};
static logVarId_t seen[TRACK_OBSERVATION_SIZE];

static void observe(float *observation) {
  for (int i = 0; i < TRACK_OBSERVATION_SIZE; i++) {
    observation[i] = logGetFloat(seen[i]);
  }
}

/* The action is a velocity forward and to the left in m/s, and a yaw rate in degrees a second. */
static void command(const float *action) {
  setpoint_t setpoint;
  memset(&setpoint, 0, sizeof(setpoint));
  setpoint.mode.x = modeVelocity;
  setpoint.mode.y = modeVelocity;
  setpoint.velocity_body = true;
  setpoint.velocity.x = action[0];
  setpoint.velocity.y = action[1];
  setpoint.mode.yaw = modeVelocity;
  setpoint.attitudeRate.yaw = action[2];
  setpoint.mode.z = modeAbs;
  setpoint.position.z = HEIGHT_M;
  commanderSetSetpoint(&setpoint, PRIORITY);
}

void appMain() {
  static hover_state state;
  uint8_t was = 0;
  float observation[TRACK_OBSERVATION_SIZE], action[TRACK_ACTION_SIZE];

  for (int i = 0; i < TRACK_OBSERVATION_SIZE; i++) {
    seen[i] = logGetVarId(names[i][0], names[i][1]);
  }
  DEBUG_PRINT("policies track and hover wait for policy.active\n");

  TickType_t last = xTaskGetTickCount();
  while (1) {
    vTaskDelayUntil(&last, M2T(10));
    const uint8_t now = active;
    if (now != was) {
      hover_reset(&state); /* an episode begins */
      was = now;
    }
    if (now == 0) {
      continue;
    }
    observe(observation);
    const int refused = now == 2 ? hover_act(&state, observation, action) : track_act(observation, action);
    if (!refused) {
      command(action);
    }
  }
}

PARAM_GROUP_START(policy)
PARAM_ADD(PARAM_UINT8, active, &active)
PARAM_GROUP_STOP(policy)
