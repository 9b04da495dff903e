/* A trained policy as data and a plain sequence of calls; the kernels are in policy_kernels.h. */
#include "weight_only.h"
#define MOST_ROWS 3
#if defined(__AVR__)
#include <avr/io.h>
#if defined(__FLASH) && !defined(CONSTANTS_IN_MEMORY)
#if 40 > 60000 || 40 > FLASHEND
#error "the constants do not fit this processor's flash, or not the 64 KB of it that are read as data"
#endif
#elif 40 > RAMEND - RAMSTART
#error "the constants do not fit this processor's memory; compiled as C they stand in flash where they can"
#endif
#endif
#include "weight_only_kernels.h"

ALIGNED static const FLASH uint8_t layer0_weight[6] = {
    205, 190, 167, 217, 247, 20,
};

ALIGNED static const FLASH float layer0_weight_scale[1] = {
    0.015625f,
};

ALIGNED static const FLASH float layer0_bias[3] = {
    -0.78125f, -0.203125f, 0.375f,
};

ALIGNED static const FLASH int8_t layer2_weight[6] = {
    -127, -15, -89, 21, -53, 59,
};

ALIGNED static const FLASH float layer2_weight_scale[1] = {
    0.015625f,
};

ALIGNED static const FLASH float layer2_bias[2] = {
    -0.78125f, -0.203125f,
};

ALONE int weight_only_act_in(weight_only_scratch *scratch, const float *observation, float *action)
{

    if (!all_finite(observation, 5)) {
        no_action(action, 2);
        return 1;
    }

    /* layer0: QuantizedDense, 5 -> 3, 3-bit weights */
    dense_packed_f32(layer0_weight, 3, NO_REALS, 3, 5, observation, scratch->a);
    scale_rows(scratch->a, 3, FLOATS(layer0_weight_scale), 0, FLOATS(layer0_bias));

    /* layer1: Relu, 3 -> 3 */
    relu(scratch->a, 3);

    /* layer2: QuantizedDense, 3 -> 2, 8-bit weights */
    dense_i8_f32(layer2_weight, NO_REALS, 2, 3, scratch->a, action);
    scale_rows(action, 2, FLOATS(layer2_weight_scale), 0, FLOATS(layer2_bias));

    /* layer3: SquashAction, 2 -> 2 */
    tanh_all(action, 2);
    return 0;
}

int weight_only_act(const float *observation, float *action)
{
    ALIGNED weight_only_scratch scratch;
    return weight_only_act_in(&scratch, observation, action);
}
