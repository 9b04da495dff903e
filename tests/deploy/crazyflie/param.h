#pragma once
#include <stdint.h>
struct param_s {
  uint8_t type;
  const char *name;
  void *address;
};
#define PARAM_UINT8 0x08
#define PARAM_ADD(TYPE, NAME, ADDRESS) {TYPE, #NAME, (void *)(ADDRESS)},
#define PARAM_GROUP_START(NAME) extern const struct param_s params_##NAME[]; const struct param_s params_##NAME[] = {
#define PARAM_GROUP_STOP(NAME) {0, 0, 0}};
