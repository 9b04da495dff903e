/* A trained policy as data and a plain sequence of calls; the kernels are in policy_kernels.h. */
#include "half.h"
#define MOST_ROWS 3
#define STORES_HALVES 1
#if defined(__AVR__)
#include <avr/io.h>
#if defined(__FLASH) && !defined(CONSTANTS_IN_MEMORY)
#if 94 > 60000 || 94 > FLASHEND
#error "the constants do not fit this processor's flash, or not the 64 KB of it that are read as data"
#endif
#elif 94 > RAMEND - RAMSTART
#error "the constants do not fit this processor's memory; compiled as C they stand in flash where they can"
#endif
#endif
#include "half_kernels.h"

ALIGNED static const FLASH uint16_t layer0_mean[5] = {
    0xba40, 0xb280, 0x3600, 0xb900, 0xaa00,
};

ALIGNED static const FLASH uint16_t layer0_scale[5] = {
    0x3e71, 0x3c2a, 0x3c90, 0x3d90, 0x3c02,
};

ALIGNED static const FLASH uint16_t layer0_clip[1] = {
    0x4900,
};

ALIGNED static const FLASH uint16_t layer1_weight[15] = {
    0xba40, 0x3840, 0x3440, 0xb280, 0xb780, 0xb9e0, 0x3600, 0x2f00, 0xb100, 0xb900, 0x3980, 0x36c0, 0xaa00, 0xb500, 0xb8a0,
};

ALIGNED static const FLASH uint16_t layer1_bias[3] = {
    0xba40, 0xb280, 0x3600,
};

ALIGNED static const FLASH float layer2_weight[3] = {
    0.21875f, 0.796875f, 1.375f,
};

ALIGNED static const FLASH float layer2_bias[3] = {
    -0.78125f, -0.203125f, 0.375f,
};

ALIGNED static const FLASH uint16_t layer4_weight[6] = {
    0xba40, 0xb900, 0xb280, 0xaa00, 0x3600, 0x3840,
};

ALONE int half_act_in(half_scratch *scratch, const float *observation, float *action)
{

    if (!all_finite(observation, 5)) {
        no_action(action, 2);
        return 1;
    }

    /* layer0: Standardize, 5 -> 5 */
    DECODE_HALVES(layer0_mean, 5, scratch->real_0);
    DECODE_HALVES(layer0_scale, 5, scratch->real_1);
    standardize(observation, 5, HALVES(layer0_mean, scratch->real_0), 1, HALVES(layer0_scale, scratch->real_1), 1, scratch->a);
    DECODE_HALVES(layer0_clip, 1, scratch->real_2);
    limit(scratch->a, 5, HALVES(layer0_clip, scratch->real_2), 0);

    /* layer1: Dense, 5 -> 3, float16 weights */
    DECODE_HALVES(layer1_bias, 3, scratch->real_0);
    dense_f16(layer1_weight, HALVES(layer1_bias, scratch->real_0), 3, 5, scratch->a, scratch->b);

    /* layer2: LayerNorm, 3 -> 3 */
    layer_norm(scratch->b, 3, FLOATS(layer2_weight), FLOATS(layer2_bias), 1e-05f);

    /* layer3: Elu, 3 -> 3 */
    elu(scratch->b, 3, 1.0f);

    /* layer4: Dense, 3 -> 2, float16 weights */
    dense_f16(layer4_weight, NO_REALS, 2, 3, scratch->b, action);

    /* layer5: SquashAction, 2 -> 2 */
    tanh_all(action, 2);
    return 0;
}

int half_act(const float *observation, float *action)
{
    ALIGNED half_scratch scratch;
    return half_act_in(&scratch, observation, action);
}
