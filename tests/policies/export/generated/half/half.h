/* Box(-inf, inf, (5,), float32) -> Box(-1, 1, (2,), float32)
   30 parameters, 21 multiply-accumulates a decision,
   94 bytes of constants. Policy 7bfb71a64bb53fa9 */
#ifndef LILLIPUT_half_7bfb71a6_H
#define LILLIPUT_half_7bfb71a6_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HALF_OBSERVATION_SIZE 5
#define HALF_ACTION_SIZE 2

/* Without a float unit small constants are decoded where they stand, which takes no working memory. */
#if !defined(LILLIPUT_SOFT_FLOATS)
#if (defined(__arm__) && !defined(__ARM_FP)) || (defined(__riscv) && !defined(__riscv_flen)) || defined(__AVR__) \
    || defined(__MSP430__)
#define LILLIPUT_SOFT_FLOATS 1
#else
#define LILLIPUT_SOFT_FLOATS 0
#endif
#endif

/* Working memory of one decision: 32 bytes without a float unit, 76 with one. Nothing in it need be kept or cleared. */
typedef struct {
    float a[5];
    float b[3];
#if !LILLIPUT_SOFT_FLOATS
    float real_0[5];
    float real_1[5];
    float real_2[1];
#endif
} half_scratch;

/* Writes the environment's action for one raw observation, flattened row by row; everything between the two, such as
   normalization and clipping, is inside. The two arrays may not overlap.
   Returns 0; or 1 where a number that the policy reads is NaN or infinite: then every number of the action is NaN.
   Takes at most 176 bytes of stack, with the working memory, without a float unit, 332 with one. */
int half_act(const float *observation, float *action);

/* The same, with working memory that the caller gives: one for each thread or interrupt level that calls. */
int half_act_in(half_scratch *scratch, const float *observation, float *action);

/* In half_selftest.c: decides the golden observations, and returns how many numbers came out wrong. */
int half_selftest(void);

#ifdef __cplusplus
}
#endif

#endif
