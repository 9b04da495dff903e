/* A trained policy as data and a plain sequence of calls; the kernels are in policy_kernels.h. */
#include "float32.h"
#define MOST_ROWS 3
#if defined(__AVR__)
#include <avr/io.h>
#if defined(__FLASH) && !defined(CONSTANTS_IN_MEMORY)
#if 148 > 60000 || 148 > FLASHEND
#error "the constants do not fit this processor's flash, or not the 64 KB of it that are read as data"
#endif
#elif 148 > RAMEND - RAMSTART
#error "the constants do not fit this processor's memory; compiled as C they stand in flash where they can"
#endif
#endif
#include "float32_kernels.h"

ALIGNED static const FLASH float layer0_mean[5] = {
    -0.78125f, -0.203125f, 0.375f, -0.625f, -0.046875f,
};

ALIGNED static const FLASH float layer0_scale[5] = {
    1.6103516f, 1.0412598f, 1.140625f, 1.390625f, 1.0021973f,
};

ALIGNED static const FLASH float layer0_clip[1] = {
    10.0f,
};

ALIGNED static const FLASH float layer1_weight[15] = {
    -0.78125f, 0.53125f, 0.265625f, -0.203125f, -0.46875f, -0.734375f, 0.375f, 0.109375f,
    -0.15625f, -0.625f, 0.6875f, 0.421875f, -0.046875f, -0.3125f, -0.578125f,
};

ALIGNED static const FLASH float layer1_bias[3] = {
    -0.78125f, -0.203125f, 0.375f,
};

ALIGNED static const FLASH float layer3_weight[6] = {
    -0.78125f, -0.625f, -0.203125f, -0.046875f, 0.375f, 0.53125f,
};

ALIGNED static const FLASH float layer3_bias[2] = {
    -0.78125f, -0.203125f,
};

ALONE int float32_act_in(float32_scratch *scratch, const float *observation, float *action)
{

    if (!all_finite(observation, 5)) {
        no_action(action, 2);
        return 1;
    }

    /* layer0: Standardize, 5 -> 5 */
    standardize(observation, 5, FLOATS(layer0_mean), 1, FLOATS(layer0_scale), 1, scratch->a);
    limit(scratch->a, 5, FLOATS(layer0_clip), 0);

    /* layer1: Dense, 5 -> 3, float32 weights */
    dense_f32(layer1_weight, FLOATS(layer1_bias), 3, 5, scratch->a, scratch->b);

    /* layer2: Tanh, 3 -> 3 */
    tanh_all(scratch->b, 3);

    /* layer3: Dense, 3 -> 2, float32 weights */
    dense_f32(layer3_weight, FLOATS(layer3_bias), 2, 3, scratch->b, action);

    /* layer4: SquashAction, 2 -> 2 */
    tanh_all(action, 2);
    return 0;
}

int float32_act(const float *observation, float *action)
{
    ALIGNED float32_scratch scratch;
    return float32_act_in(&scratch, observation, action);
}
