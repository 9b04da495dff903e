/* Box(0, 255, (4, 9, 8), uint8) -> Discrete(3)
   113 parameters, 468 multiply-accumulates a decision,
   460 bytes of constants. Policy f4db543a3e4358c5 */
#ifndef LILLIPUT_image_f4db543a_H
#define LILLIPUT_image_f4db543a_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define IMAGE_OBSERVATION_SIZE 288
#define IMAGE_ACTION_SIZE 1

/* Working memory of one decision: 2304 bytes. Nothing in it need be kept or cleared. */
typedef struct {
    float a[288];
    float b[288];
} image_scratch;

/* Writes the environment's action for one raw observation, flattened row by row; everything between the two, such as
   normalization and clipping, is inside. Each number of the action is a choice, counted from 0. The two arrays may not overlap.
   Returns 0; or 1 where a number that the policy reads is NaN or infinite: then every choice is 0.
   Takes at most 2600 bytes of stack, with the working memory, without a float unit, 2776 with one. */
int image_act(const uint8_t *observation, int32_t *action);

/* The same, with working memory that the caller gives: one for each thread or interrupt level that calls. */
int image_act_in(image_scratch *scratch, const uint8_t *observation, int32_t *action);

/* In image_selftest.c: decides the golden observations, and returns how many numbers came out wrong. */
int image_selftest(void);

#ifdef __cplusplus
}
#endif

#endif
