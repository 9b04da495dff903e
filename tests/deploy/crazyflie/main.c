/* A line of the standard input a tick: "policy.active N", or what is measured, six numbers. What is commanded is a line
   of the standard output. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app.h"
#include "commander.h"
#include "log.h"
#include "param.h"
#include "task.h"

extern const struct param_s params_policy[];
static float measured[6];

TickType_t xTaskGetTickCount(void) { return 0; }

void vTaskDelayUntil(TickType_t *const last, const TickType_t ticks) {
  char line[512];
  *last += ticks;
  while (fgets(line, sizeof line, stdin)) {
    const struct param_s *param = params_policy;
    if (strncmp(line, "policy.", 7)) {
      char *at = line;
      for (int i = 0; i < 6; i++) measured[i] = strtof(at, &at);
      return;
    }
    while (param->name && strncmp(line + 7, param->name, strlen(param->name))) param++;
    if (!param->name) exit(2);
    *(uint8_t *)param->address = (uint8_t)atoi(strchr(line, ' '));
  }
  exit(0);
}

logVarId_t logGetVarId(const char *group, const char *name) {
  static const char *const names[] = {"x", "y", "z", "vx", "vy", "vz"};
  if (strcmp(group, "stateEstimate")) exit(3);
  for (logVarId_t i = 0; i < 6; i++)
    if (!strcmp(name, names[i])) return i;
  exit(3);
}

float logGetFloat(logVarId_t varid) { return measured[varid]; }

void commanderSetSetpoint(setpoint_t *setpoint, int priority) {
  if (setpoint->mode.x != modeVelocity || setpoint->mode.z != modeAbs || priority < 1) exit(4);
  printf("%.9g %.9g %.9g\n", (double)setpoint->velocity.x, (double)setpoint->velocity.y,
         (double)setpoint->attitudeRate.yaw);
}

int main(void) {
  appMain();
  return 0;
}
