/* A trained policy as data and a plain sequence of calls; the kernels are in policy_kernels.h. */
#include "bit_mask.h"
#define MOST_ROWS 4
#if defined(__AVR__)
#include <avr/io.h>
#if defined(__FLASH) && !defined(CONSTANTS_IN_MEMORY)
#if 83 > 60000 || 83 > FLASHEND
#error "the constants do not fit this processor's flash, or not the 64 KB of it that are read as data"
#endif
#elif 83 > RAMEND - RAMSTART
#error "the constants do not fit this processor's memory; compiled as C they stand in flash where they can"
#endif
#endif
#include "bit_mask_kernels.h"

ALIGNED static const FLASH float layer0_inverse_scale[1] = {
    20.0f,
};

ALIGNED static const FLASH uint8_t layer0_zero_point[1] = {
    128,
};

ALIGNED static const FLASH int8_t layer0_weight[27] = {
    -127, -15, -115, -103, 53, -91, 95, -3, 107, 9, 21, -49, -37, 119, -25, -123, 63, -81, 75, 87,
    -13, 99, 29, -69, 41, -57, -45,
};

ALIGNED static const FLASH uint8_t layer0_mask[10] = {
    41, 148, 148, 66, 66, 41, 41, 148, 148, 66,
};

ALIGNED static const FLASH float layer0_weight_scale[1] = {
    0.015625f,
};

ALIGNED static const FLASH float layer0_bias[4] = {
    -0.78125f, -0.203125f, 0.375f, -0.625f,
};

ALIGNED static const FLASH float layer2_inverse_scale[1] = {
    0.1f,
};

ALIGNED static const FLASH uint8_t layer2_zero_point[1] = {
    0,
};

ALIGNED static const FLASH uint8_t layer2_weight[4] = {
    25, 247, 247, 213,
};

ALIGNED static const FLASH float layer2_weight_scale[1] = {
    0.015625f,
};

ALIGNED static const FLASH float layer2_bias[2] = {
    -0.78125f, -0.203125f,
};

ALONE int bit_mask_act_in(bit_mask_scratch *scratch, const float *observation, float *action)
{

    if (!all_finite(observation, 20)) {
        no_action(action, 2);
        return 1;
    }

    /* layer0: QuantizedDense, 20 -> 4, 8-bit weights, zeros left out (bit mask) */
    DECODE_ZEROS_8(layer0_zero_point, 1, scratch->zero_points);
    quantize_static(observation, 20, FLOATS(layer0_inverse_scale), 0, ZEROS_8(layer0_zero_point, scratch->zero_points), 0, 255, scratch->codes);
    bitmask_i8(layer0_weight, layer0_mask, 4, 20, scratch->codes, 0, FLOATS(layer0_weight_scale), 0, 1.0f, FLOATS(layer0_bias), scratch->a);

    /* layer1: Relu, 4 -> 4, within the codes */

    /* layer2: QuantizedDense, 4 -> 2, 4-bit weights */
    DECODE_ZEROS_8(layer2_zero_point, 1, scratch->zero_points);
    quantize_static(scratch->a, 4, FLOATS(layer2_inverse_scale), 0, ZEROS_8(layer2_zero_point, scratch->zero_points), 0, 255, scratch->codes);
    dense_packed(layer2_weight, 4, 2, 4, scratch->codes, 0, FLOATS(layer2_weight_scale), 0, 1.0f, FLOATS(layer2_bias), action);

    /* layer3: SquashAction, 2 -> 2 */
    tanh_all(action, 2);
    return 0;
}

int bit_mask_act(const float *observation, float *action)
{
    ALIGNED bit_mask_scratch scratch;
    return bit_mask_act_in(&scratch, observation, action);
}
