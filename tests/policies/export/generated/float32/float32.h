/* Box(-inf, inf, (5,), float32) -> Box(-1, 1, (2,), float32)
   26 parameters, 21 multiply-accumulates a decision,
   148 bytes of constants. Policy fe814bbea21b558a */
#ifndef LILLIPUT_float32_fe814bbe_H
#define LILLIPUT_float32_fe814bbe_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FLOAT32_OBSERVATION_SIZE 5
#define FLOAT32_ACTION_SIZE 2

/* Working memory of one decision: 32 bytes. Nothing in it need be kept or cleared. */
typedef struct {
    float a[5];
    float b[3];
} float32_scratch;

/* Writes the environment's action for one raw observation, flattened row by row; everything between the two, such as
   normalization and clipping, is inside. The two arrays may not overlap.
   Returns 0; or 1 where a number that the policy reads is NaN or infinite: then every number of the action is NaN.
   Takes at most 160 bytes of stack, with the working memory, without a float unit, 184 with one. */
int float32_act(const float *observation, float *action);

/* The same, with working memory that the caller gives: one for each thread or interrupt level that calls. */
int float32_act_in(float32_scratch *scratch, const float *observation, float *action);

/* In float32_selftest.c: decides the golden observations, and returns how many numbers came out wrong. */
int float32_selftest(void);

#ifdef __cplusplus
}
#endif

#endif
