/* Box(0, 255, (4, 9, 8), uint8) -> Discrete(3)
   113 parameters, 468 multiply-accumulates a decision,
   253 bytes of constants. Policy 259e37cd3ce07c92 */
#ifndef LILLIPUT_image_codes_259e37cd_H
#define LILLIPUT_image_codes_259e37cd_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define IMAGE_CODES_OBSERVATION_SIZE 288
#define IMAGE_CODES_ACTION_SIZE 1

/* Without a float unit small constants are decoded where they stand, which takes no working memory. */
#if !defined(LILLIPUT_SOFT_FLOATS)
#if (defined(__arm__) && !defined(__ARM_FP)) || (defined(__riscv) && !defined(__riscv_flen)) || defined(__AVR__) \
    || defined(__MSP430__)
#define LILLIPUT_SOFT_FLOATS 1
#else
#define LILLIPUT_SOFT_FLOATS 0
#endif
#endif

/* Working memory of one decision: 1616 bytes without a float unit, 1620 with one, 1008 more on x86. Nothing in it need be kept or cleared. */
typedef struct {
    float a[256];
    float b[12];
#if !LILLIPUT_SOFT_FLOATS
    int32_t zero_points[1];
#endif
#if defined(__SSE2__)
    int16_t wide_codes[504];
#endif
    uint8_t byte_codes[256];
    uint8_t codes[288];
} image_codes_scratch;

/* Writes the environment's action for one raw observation, flattened row by row; everything between the two, such as
   normalization and clipping, is inside. Each number of the action is a choice, counted from 0. The two arrays may not overlap.
   Returns 0; or 1 where a number that the policy reads is NaN or infinite: then every choice is 0.
   Takes at most 1912 bytes of stack, with the working memory, without a float unit, 2092 with one. */
int image_codes_act(const uint8_t *observation, int32_t *action);

/* The same, with working memory that the caller gives: one for each thread or interrupt level that calls. */
int image_codes_act_in(image_codes_scratch *scratch, const uint8_t *observation, int32_t *action);

/* In image_codes_selftest.c: decides the golden observations, and returns how many numbers came out wrong. */
int image_codes_selftest(void);

#ifdef __cplusplus
}
#endif

#endif
