/* Box(-inf, inf, (5,), float32) -> Box(-1, 1, (2,), float32)
   26 parameters, 21 multiply-accumulates a decision,
   40 bytes of constants. Policy ce931c33215882a6 */
#ifndef LILLIPUT_weight_only_ce931c33_H
#define LILLIPUT_weight_only_ce931c33_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WEIGHT_ONLY_OBSERVATION_SIZE 5
#define WEIGHT_ONLY_ACTION_SIZE 2

/* Working memory of one decision: 12 bytes. Nothing in it need be kept or cleared. */
typedef struct {
    float a[3];
} weight_only_scratch;

/* Writes the environment's action for one raw observation, flattened row by row; everything between the two, such as
   normalization and clipping, is inside. The two arrays may not overlap.
   Returns 0; or 1 where a number that the policy reads is NaN or infinite: then every number of the action is NaN.
   Takes at most 156 bytes of stack, with the working memory, without a float unit, 268 with one. */
int weight_only_act(const float *observation, float *action);

/* The same, with working memory that the caller gives: one for each thread or interrupt level that calls. */
int weight_only_act_in(weight_only_scratch *scratch, const float *observation, float *action);

/* In weight_only_selftest.c: decides the golden observations, and returns how many numbers came out wrong. */
int weight_only_selftest(void);

#ifdef __cplusplus
}
#endif

#endif
