/* Box(-inf, inf, (10,), float32) -> Box(-1, 1, (2,), float32)
   233 parameters, 213 multiply-accumulates a decision,
   932 bytes of constants. Policy d57e290c305a9278 */
#ifndef LILLIPUT_gru_d57e290c_H
#define LILLIPUT_gru_d57e290c_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GRU_OBSERVATION_SIZE 10
#define GRU_ACTION_SIZE 2

/* Working memory of one decision: 164 bytes. Nothing in it need be kept or cleared. */
typedef struct {
    float a[20];
    float b[3];
    float gates[9];
    float hidden_gates[9];
} gru_scratch;

/* What the policy remembers of an episode, 52 bytes: one for each that acts. */
typedef struct {
    float layer0_history[10];
    float layer1_h[3];
} gru_state;

/* Begins an episode: call it before the first decision, and wherever what was before shall be forgotten. */
void gru_reset(gru_state *state);

/* Writes the environment's action for one raw observation, flattened row by row; everything between the two, such as
   normalization and clipping, is inside. The two arrays may not overlap.
   Returns 0; or 1 where a number that the policy reads is NaN or infinite: then every number of the action is NaN, and the state stays as it was.
   Takes at most 548 bytes of stack, with the working memory, without a float unit, 460 with one. */
int gru_act(gru_state *state, const float *observation, float *action);

/* The same, with working memory that the caller gives: one for each thread or interrupt level that calls. */
int gru_act_in(gru_state *state, gru_scratch *scratch,
               const float *observation, float *action);

/* In gru_selftest.c: decides the golden observations, and returns how many numbers came out wrong. */
int gru_selftest(void);

#ifdef __cplusplus
}
#endif

#endif
