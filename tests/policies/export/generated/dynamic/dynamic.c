/* A trained policy as data and a plain sequence of calls; the kernels are in policy_kernels.h. */
#include "dynamic.h"
#define MOST_ROWS 3
#if defined(__AVR__)
#include <avr/io.h>
#if defined(__FLASH) && !defined(CONSTANTS_IN_MEMORY)
#if 46 > 60000 || 46 > FLASHEND
#error "the constants do not fit this processor's flash, or not the 64 KB of it that are read as data"
#endif
#elif 46 > RAMEND - RAMSTART
#error "the constants do not fit this processor's memory; compiled as C they stand in flash where they can"
#endif
#endif
#include "dynamic_kernels.h"

ALIGNED static const FLASH int8_t layer0_weight[15] = {
    -127, -89, -53, -15, 59, 95, -123, -85, -11, 25, 63, 99, 21, -49, -119,
};

ALIGNED static const FLASH float layer0_weight_scale[1] = {
    0.015625f,
};

ALIGNED static const FLASH float layer0_bias[3] = {
    -0.78125f, -0.203125f, 0.375f,
};

ALIGNED static const FLASH uint8_t layer2_weight[3] = {
    25, 247, 247,
};

ALIGNED static const FLASH float layer2_weight_scale[1] = {
    0.015625f,
};

ALIGNED static const FLASH float layer2_bias[2] = {
    -0.78125f, -0.203125f,
};

ALONE int dynamic_act_in(dynamic_scratch *scratch, const float *observation, float *action)
{
    int32_t layer0_zero;
    float layer0_input_scale;
    int32_t layer2_zero;
    float layer2_input_scale;

    if (!all_finite(observation, 5)) {
        no_action(action, 2);
        return 1;
    }

    /* layer0: QuantizedDense, 5 -> 3, 8-bit weights */
    layer0_input_scale = quantize_dynamic(observation, 5, 255, scratch->codes, &layer0_zero);
    dense_i8(layer0_weight, 3, 5, scratch->codes, layer0_zero, FLOATS(layer0_weight_scale), 0, layer0_input_scale, FLOATS(layer0_bias), scratch->a);

    /* layer1: Sigmoid, 3 -> 3 */
    sigmoid(scratch->a, 3);

    /* layer2: QuantizedDense, 3 -> 2, 4-bit weights */
    layer2_input_scale = quantize_dynamic(scratch->a, 3, 255, scratch->codes, &layer2_zero);
    dense_packed(layer2_weight, 4, 2, 3, scratch->codes, layer2_zero, FLOATS(layer2_weight_scale), 0, layer2_input_scale, FLOATS(layer2_bias), action);

    /* layer3: SquashAction, 2 -> 2 */
    tanh_all(action, 2);
    return 0;
}

int dynamic_act(const float *observation, float *action)
{
    ALIGNED dynamic_scratch scratch;
    return dynamic_act_in(&scratch, observation, action);
}
