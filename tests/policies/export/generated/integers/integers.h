/* Box(-inf, inf, (5,), float32) -> Box(-1, 1, (2,), float32)
   26 parameters, 21 multiply-accumulates a decision,
   59 bytes of constants. Policy 849d4ebab6f2b349 */
#ifndef LILLIPUT_integers_849d4eba_H
#define LILLIPUT_integers_849d4eba_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define INTEGERS_OBSERVATION_SIZE 5
#define INTEGERS_ACTION_SIZE 2

/* 1: integers between the layers that are quantized, for processors without vectors of floats. 0: floats. Their actions
   are the same, but where a number lies within a rounding error of the middle between two codes. */
#if defined(LILLIPUT_INTEGERS)
#define INTEGERS_INTEGERS LILLIPUT_INTEGERS
#elif defined(__SSE2__) || defined(__ARM_NEON) || defined(__wasm_simd128__) || defined(_M_X64)
#define INTEGERS_INTEGERS 0
#else
#define INTEGERS_INTEGERS 1
#endif

/* Without a float unit small constants are decoded where they stand, which takes no working memory. */
#if !defined(LILLIPUT_SOFT_FLOATS)
#if (defined(__arm__) && !defined(__ARM_FP)) || (defined(__riscv) && !defined(__riscv_flen)) || defined(__AVR__) \
    || defined(__MSP430__)
#define LILLIPUT_SOFT_FLOATS 1
#else
#define LILLIPUT_SOFT_FLOATS 0
#endif
#endif

/* Working memory of one decision: 28 bytes without a float unit, 32 with one with integers, else 17 bytes without a float unit, 21 with one. Nothing in it need be kept or cleared. */
typedef struct {
#if INTEGERS_INTEGERS
#if !LILLIPUT_SOFT_FLOATS
    int32_t zero_points[1];
#endif
#if defined(__ARM_FEATURE_DSP)
    uint32_t pairs[4];
#endif
    uint8_t codes[8];
    uint8_t next_codes[4];
#else
    float a[3];
#if !LILLIPUT_SOFT_FLOATS
    int32_t zero_points[1];
#endif
    uint8_t codes[5];
#endif
} integers_scratch;

/* Writes the environment's action for one raw observation, flattened row by row; everything between the two, such as
   normalization and clipping, is inside. The two arrays may not overlap.
   Returns 0; or 1 where a number that the policy reads is NaN or infinite: then every number of the action is NaN.
   Takes at most 184 bytes of stack, with the working memory, without a float unit, 232 with one. */
int integers_act(const float *observation, float *action);

/* The same, with working memory that the caller gives: one for each thread or interrupt level that calls. */
int integers_act_in(integers_scratch *scratch, const float *observation, float *action);

/* In integers_selftest.c: decides the golden observations, and returns how many numbers came out wrong. */
int integers_selftest(void);

#ifdef __cplusplus
}
#endif

#endif
