/* A trained policy as data and a plain sequence of calls; the kernels are in policy_kernels.h. */
#include "image.h"
#define MOST_ROWS 3
#if defined(__AVR__)
#include <avr/io.h>
#if defined(__FLASH) && !defined(CONSTANTS_IN_MEMORY)
#if 460 > 60000 || 460 > FLASHEND
#error "the constants do not fit this processor's flash, or not the 64 KB of it that are read as data"
#endif
#elif 460 > RAMEND - RAMSTART
#error "the constants do not fit this processor's memory; compiled as C they stand in flash where they can"
#endif
#endif
#include "image_kernels.h"

ALIGNED static const FLASH float layer0_mean[1] = {
    0.0f,
};

ALIGNED static const FLASH float layer0_scale[1] = {
    0.00390625f,
};

ALIGNED static const FLASH float layer1_weight[72] = {
    -0.78125f, -0.484375f, -0.3125f, -0.015625f, 0.15625f, 0.453125f, 0.625f, -0.65625f,
    -0.203125f, 0.09375f, 0.265625f, 0.5625f, 0.734375f, -0.546875f, -0.375f, -0.078125f,
    0.375f, 0.671875f, -0.734375f, -0.4375f, -0.265625f, 0.03125f, 0.203125f, 0.5f,
    -0.625f, -0.328125f, -0.15625f, 0.140625f, 0.3125f, 0.609375f, 0.78125f, -0.5f,
    -0.046875f, 0.25f, 0.421875f, 0.71875f, -0.6875f, -0.390625f, -0.21875f, 0.078125f,
    0.53125f, -0.75f, -0.578125f, -0.28125f, -0.109375f, 0.1875f, 0.359375f, 0.65625f,
    -0.46875f, -0.171875f, 0.0f, 0.296875f, 0.46875f, 0.765625f, -0.640625f, -0.34375f,
    0.109375f, 0.40625f, 0.578125f, -0.703125f, -0.53125f, -0.234375f, -0.0625f, 0.234375f,
    0.6875f, -0.59375f, -0.421875f, -0.125f, 0.046875f, 0.34375f, 0.515625f, -0.765625f,
};

ALIGNED static const FLASH float layer1_bias[2] = {
    -0.78125f, -0.203125f,
};

ALIGNED static const FLASH float layer4_weight[36] = {
    -0.78125f, -0.15625f, 0.46875f, -0.203125f, 0.421875f, -0.53125f, 0.375f, -0.578125f,
    0.046875f, -0.625f, 0.0f, 0.625f, -0.046875f, 0.578125f, -0.375f, 0.53125f,
    -0.421875f, 0.203125f, -0.46875f, 0.15625f, 0.78125f, 0.109375f, 0.734375f, -0.21875f,
    0.6875f, -0.265625f, 0.359375f, -0.3125f, 0.3125f, -0.640625f, 0.265625f, -0.6875f,
    -0.0625f, -0.734375f, -0.109375f, 0.515625f,
};

ALIGNED static const FLASH float layer4_bias[3] = {
    -0.78125f, -0.203125f, 0.375f,
};

ALONE int image_act_in(image_scratch *scratch, const uint8_t *observation, int32_t *action)
{
    const conv2d_shape layer1_shape = {2, 4, 9, 8, 3, 3, 3, 3, 0, 0, 3, 2, 2};
    bytes_to_float(observation, 288, scratch->a);

    /* layer0: Standardize, 4x9x8 -> 4x9x8 */
    standardize(scratch->a, 288, FLOATS(layer0_mean), 0, FLOATS(layer0_scale), 0, scratch->a);

    /* layer1: Conv2d, 4x9x8 -> 2x3x2, float32 weights */
    channels_last(scratch->a, 4, 72, scratch->b);
    conv2d_f32(&layer1_shape, layer1_weight, FLOATS(layer1_bias), scratch->b, scratch->a);

    /* layer2: Relu, 2x3x2 -> 2x3x2 */
    relu(scratch->a, 12);

    /* layer3: Flatten, 2x3x2 -> 12 */
    channels_first(scratch->a, 2, 6, scratch->b);

    /* layer4: Dense, 12 -> 3, float32 weights */
    dense_f32(layer4_weight, FLOATS(layer4_bias), 3, 12, scratch->b, scratch->a);

    /* layer5: ArgmaxAction, 3 -> 1 */
    action[0] = argmax(scratch->a, 3);
    return 0;
}

int image_act(const uint8_t *observation, int32_t *action)
{
    ALIGNED image_scratch scratch;
    return image_act_in(&scratch, observation, action);
}
