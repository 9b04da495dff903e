/* A trained policy as data and a plain sequence of calls; the kernels are in policy_kernels.h. */
#include "image_codes.h"
#define MOST_ROWS 3
#if defined(__AVR__)
#include <avr/io.h>
#if defined(__FLASH) && !defined(CONSTANTS_IN_MEMORY)
#if 253 > 60000 || 253 > FLASHEND
#error "the constants do not fit this processor's flash, or not the 64 KB of it that are read as data"
#endif
#elif 253 > RAMEND - RAMSTART
#error "the constants do not fit this processor's memory; compiled as C they stand in flash where they can"
#endif
#endif
#include "image_codes_kernels.h"

ALIGNED static const FLASH float layer0_mean[1] = {
    0.0f,
};

ALIGNED static const FLASH float layer0_scale[1] = {
    0.00390625f,
};

ALIGNED static const FLASH float layer1_inverse_scale[1] = {
    255.0f,
};

ALIGNED static const FLASH uint8_t layer1_zero_point[1] = {
    0,
};

ALIGNED static const FLASH int8_t layer1_weight[72] = {
    -127, -49, 29, 107, -69, 9, 87, -91, -89, -11, 67, -111, -33, 45, 123, -53, -53, 25, 103, -73,
    5, 83, -95, -17, -15, 63, -115, -37, 41, 119, -57, 21, 21, 99, -77, 1, 79, -99, -21, 57,
    59, -119, -41, 37, 115, -61, 17, 95, 95, -81, -3, 75, -103, -25, 53, -123, -123, -45, 33, 111,
    -65, 13, 91, -87, -85, -7, 71, -107, -29, 49, 127, -49,
};

ALIGNED static const FLASH float layer1_weight_scale[1] = {
    0.015625f,
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

ALONE int image_codes_act_in(image_codes_scratch *scratch, const uint8_t *observation, int32_t *action)
{
    const conv2d_shape layer1_shape = {2, 4, 9, 8, 3, 3, 3, 3, 0, 0, 3, 2, 2};

    /* what layer1 gets for every byte there is: a table for the observation */
    every_byte(scratch->a);

    /* layer0: Standardize, 256 -> 256 */
    standardize(scratch->a, 256, FLOATS(layer0_mean), 0, FLOATS(layer0_scale), 0, scratch->a);

    /* layer1: QuantizedConv2d, 4x9x8 -> 2x3x2, 8-bit weights */
    DECODE_ZEROS_8(layer1_zero_point, 1, scratch->zero_points);
    quantize_static(scratch->a, 256, FLOATS(layer1_inverse_scale), 0, ZEROS_8(layer1_zero_point, scratch->zero_points), 0, 255, scratch->byte_codes);
    look_up_image(observation, 4, 72, scratch->byte_codes, scratch->codes);
    conv2d_i8(&layer1_shape, layer1_weight, scratch->codes, 0, ZERO(ZEROS_8(layer1_zero_point, scratch->zero_points), 0), FLOATS(layer1_weight_scale), 0, 1.0f, FLOATS(layer1_bias), scratch->b, WIDE_CODES(scratch->wide_codes));

    /* layer2: Relu, 2x3x2 -> 2x3x2 */
    relu(scratch->b, 12);

    /* layer3: Flatten, 2x3x2 -> 12 */
    channels_first(scratch->b, 2, 6, scratch->a);

    /* layer4: Dense, 12 -> 3, float32 weights */
    dense_f32(layer4_weight, FLOATS(layer4_bias), 3, 12, scratch->a, scratch->b);

    /* layer5: ArgmaxAction, 3 -> 1 */
    action[0] = argmax(scratch->b, 3);
    return 0;
}

int image_codes_act(const uint8_t *observation, int32_t *action)
{
    ALIGNED image_codes_scratch scratch;
    return image_codes_act_in(&scratch, observation, action);
}
