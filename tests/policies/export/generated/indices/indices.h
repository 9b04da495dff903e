/* Box(-inf, inf, (41,), float32) -> Box(-1, 1, (2,), float32)
   94 parameters, 88 multiply-accumulates a decision,
   59 bytes of constants. Policy b7bfcd31c7307584 */
#ifndef LILLIPUT_indices_b7bfcd31_H
#define LILLIPUT_indices_b7bfcd31_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define INDICES_OBSERVATION_SIZE 41
#define INDICES_ACTION_SIZE 2

/* Without a float unit small constants are decoded where they stand, which takes no working memory. */
#if !defined(LILLIPUT_SOFT_FLOATS)
#if (defined(__arm__) && !defined(__ARM_FP)) || (defined(__riscv) && !defined(__riscv_flen)) || defined(__AVR__) \
    || defined(__MSP430__)
#define LILLIPUT_SOFT_FLOATS 1
#else
#define LILLIPUT_SOFT_FLOATS 0
#endif
#endif

/* Working memory of one decision: 110 bytes without a float unit, 114 with one. Nothing in it need be kept or cleared. */
typedef struct {
    float a[20];
    float b[4];
    float values[2];
#if !LILLIPUT_SOFT_FLOATS
    int32_t zero_points[1];
#endif
    uint8_t codes[4];
    int8_t value_codes[2];
} indices_scratch;

/* Writes the environment's action for one raw observation, flattened row by row; everything between the two, such as
   normalization and clipping, is inside. The two arrays may not overlap.
   Returns 0; or 1 where a number that the policy reads is NaN or infinite: then every number of the action is NaN.
   Takes at most 286 bytes of stack, with the working memory, without a float unit, 594 with one. */
int indices_act(const float *observation, float *action);

/* The same, with working memory that the caller gives: one for each thread or interrupt level that calls. */
int indices_act_in(indices_scratch *scratch, const float *observation, float *action);

/* In indices_selftest.c: decides the golden observations, and returns how many numbers came out wrong. */
int indices_selftest(void);

#ifdef __cplusplus
}
#endif

#endif
