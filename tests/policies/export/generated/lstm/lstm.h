/* Box(-inf, inf, (5,), float32) -> Box(-1, 1, (2,), float32)
   128 parameters, 102 multiply-accumulates a decision,
   432 bytes of constants. Policy 1d556f49c6c9e072 */
#ifndef LILLIPUT_lstm_1d556f49_H
#define LILLIPUT_lstm_1d556f49_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LSTM_OBSERVATION_SIZE 5
#define LSTM_ACTION_SIZE 2

/* Working memory of one decision: 108 bytes. Nothing in it need be kept or cleared. */
typedef struct {
    float a[3];
    float gates[12];
    float hidden_gates[12];
} lstm_scratch;

/* What the policy remembers of an episode, 24 bytes: one for each that acts. */
typedef struct {
    float layer0_h[3];
    float layer0_c[3];
} lstm_state;

/* Begins an episode: call it before the first decision, and wherever what was before shall be forgotten. */
void lstm_reset(lstm_state *state);

/* Writes the environment's action for one raw observation, flattened row by row; everything between the two, such as
   normalization and clipping, is inside. The two arrays may not overlap.
   Returns 0; or 1 where a number that the policy reads is NaN or infinite: then every number of the action is NaN, and the state stays as it was.
   Takes at most 516 bytes of stack, with the working memory, without a float unit, 892 with one. */
int lstm_act(lstm_state *state, const float *observation, float *action);

/* The same, with working memory that the caller gives: one for each thread or interrupt level that calls. */
int lstm_act_in(lstm_state *state, lstm_scratch *scratch,
                const float *observation, float *action);

/* In lstm_selftest.c: decides the golden observations, and returns how many numbers came out wrong. */
int lstm_selftest(void);

#ifdef __cplusplus
}
#endif

#endif
