/* Box(-inf, inf, (5,), float32) -> Box(-1, 1, (2,), float32)
   26 parameters, 21 multiply-accumulates a decision,
   46 bytes of constants. Policy 48b988697242fc90 */
#ifndef LILLIPUT_dynamic_48b98869_H
#define LILLIPUT_dynamic_48b98869_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DYNAMIC_OBSERVATION_SIZE 5
#define DYNAMIC_ACTION_SIZE 2

/* Working memory of one decision: 17 bytes. Nothing in it need be kept or cleared. */
typedef struct {
    float a[3];
    uint8_t codes[5];
} dynamic_scratch;

/* Writes the environment's action for one raw observation, flattened row by row; everything between the two, such as
   normalization and clipping, is inside. The two arrays may not overlap.
   Returns 0; or 1 where a number that the policy reads is NaN or infinite: then every number of the action is NaN.
   Takes at most 189 bytes of stack, with the working memory, without a float unit, 217 with one. */
int dynamic_act(const float *observation, float *action);

/* The same, with working memory that the caller gives: one for each thread or interrupt level that calls. */
int dynamic_act_in(dynamic_scratch *scratch, const float *observation, float *action);

/* In dynamic_selftest.c: decides the golden observations, and returns how many numbers came out wrong. */
int dynamic_selftest(void);

#ifdef __cplusplus
}
#endif

#endif
