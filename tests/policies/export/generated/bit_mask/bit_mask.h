/* Box(-inf, inf, (20,), float32) -> Box(-1, 1, (2,), float32)
   94 parameters, 88 multiply-accumulates a decision,
   83 bytes of constants. Policy 9c3c3ddffeab42bc */
#ifndef LILLIPUT_bit_mask_9c3c3ddf_H
#define LILLIPUT_bit_mask_9c3c3ddf_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BIT_MASK_OBSERVATION_SIZE 20
#define BIT_MASK_ACTION_SIZE 2

/* Without a float unit small constants are decoded where they stand, which takes no working memory. */
#if !defined(LILLIPUT_SOFT_FLOATS)
#if (defined(__arm__) && !defined(__ARM_FP)) || (defined(__riscv) && !defined(__riscv_flen)) || defined(__AVR__) \
    || defined(__MSP430__)
#define LILLIPUT_SOFT_FLOATS 1
#else
#define LILLIPUT_SOFT_FLOATS 0
#endif
#endif

/* Working memory of one decision: 36 bytes without a float unit, 40 with one. Nothing in it need be kept or cleared. */
typedef struct {
    float a[4];
#if !LILLIPUT_SOFT_FLOATS
    int32_t zero_points[1];
#endif
    uint8_t codes[20];
} bit_mask_scratch;

/* Writes the environment's action for one raw observation, flattened row by row; everything between the two, such as
   normalization and clipping, is inside. The two arrays may not overlap.
   Returns 0; or 1 where a number that the policy reads is NaN or infinite: then every number of the action is NaN.
   Takes at most 212 bytes of stack, with the working memory, without a float unit, 392 with one. */
int bit_mask_act(const float *observation, float *action);

/* The same, with working memory that the caller gives: one for each thread or interrupt level that calls. */
int bit_mask_act_in(bit_mask_scratch *scratch, const float *observation, float *action);

/* In bit_mask_selftest.c: decides the golden observations, and returns how many numbers came out wrong. */
int bit_mask_selftest(void);

#ifdef __cplusplus
}
#endif

#endif
