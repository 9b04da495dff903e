/* A trained policy as data and a plain sequence of calls; the kernels are in policy_kernels.h. */
#include "integers.h"
#if !defined(LILLIPUT_INTEGERS)
#define LILLIPUT_INTEGERS INTEGERS_INTEGERS
#endif
#define MOST_ROWS 3
#if defined(__AVR__)
#include <avr/io.h>
#if defined(__FLASH) && !defined(CONSTANTS_IN_MEMORY)
#if 59 > 60000 || 59 > FLASHEND
#error "the constants do not fit this processor's flash, or not the 64 KB of it that are read as data"
#endif
#elif 59 > RAMEND - RAMSTART
#error "the constants do not fit this processor's memory; compiled as C they stand in flash where they can"
#endif
#endif
#include "integers_kernels.h"

ALIGNED static const FLASH float layer0_inverse_scale[1] = {
    20.0f,
};

ALIGNED static const FLASH uint8_t layer0_zero_point[1] = {
    128,
};

ALIGNED static const FLASH weight_code layer0_weight[] = {
    W4(-127, -89, -53, -15), W4(59, 95, -123, -85), W4(-11, 25, 63, 99), W1(21), W1(-49), W1(-119),
};

ALIGNED static const FLASH weight_code layer2_weight[] = {
    W3(-127, -89, -53), W3(-15, 21, 59),
};

ALIGNED static const FLASH float layer2_weight_scale[1] = {
    0.015625f,
};

ALIGNED static const FLASH float layer2_bias[2] = {
    -0.78125f, -0.203125f,
};

#if INTEGERS_INTEGERS

static const FLASH requantize_row layer0_requantize[3] = {
    {858993472, BY_COUNT(3538944, -610821744)}, {858993472, BY_COUNT(4023910, -152135273)}, {858993472, BY_COUNT(4508877, 306551198)},
};

static const FLASH int32_t layer2_centre[2] = {
    BY_COUNT(0, -45735), BY_COUNT(0, 10987),
};

ALONE int integers_act_in(integers_scratch *scratch, const float *observation, float *action)
{

    if (!all_finite(observation, 5)) {
        no_action(action, 2);
        return 1;
    }

    /* layer0: QuantizedDense, 5 -> 3, 8-bit weights */
    DECODE_ZEROS_8(layer0_zero_point, 1, scratch->zero_points);
    quantize_static(observation, 5, FLOATS(layer0_inverse_scale), 0, ZEROS_8(layer0_zero_point, scratch->zero_points), 0, 255, scratch->codes);
    dense_to_codes(layer0_weight, 3, 5, integer_input(scratch->codes, 5, scratch->pairs), layer0_requantize, 39, 0, 255, scratch->next_codes);

    /* layer1: Relu, 3 -> 3, within the codes */

    /* layer2: QuantizedDense, 3 -> 2, 8-bit weights */
    dense_to_floats(layer2_weight, 2, 3, integer_input(scratch->next_codes, 3, scratch->pairs), layer2_centre, FLOATS(layer2_weight_scale), 0, FLOATS(layer2_bias), action);

    /* layer3: SquashAction, 2 -> 2 */
    tanh_all(action, 2);
    return 0;
}

#else

ALIGNED static const FLASH float layer0_weight_scale[1] = {
    0.015625f,
};

ALIGNED static const FLASH float layer0_bias[3] = {
    -0.78125f, -0.203125f, 0.375f,
};

ALIGNED static const FLASH float layer2_inverse_scale[1] = {
    0.1f,
};

ALIGNED static const FLASH uint8_t layer2_zero_point[1] = {
    0,
};

ALONE int integers_act_in(integers_scratch *scratch, const float *observation, float *action)
{

    if (!all_finite(observation, 5)) {
        no_action(action, 2);
        return 1;
    }

    /* layer0: QuantizedDense, 5 -> 3, 8-bit weights */
    DECODE_ZEROS_8(layer0_zero_point, 1, scratch->zero_points);
    quantize_static(observation, 5, FLOATS(layer0_inverse_scale), 0, ZEROS_8(layer0_zero_point, scratch->zero_points), 0, 255, scratch->codes);
    dense_i8(layer0_weight, 3, 5, scratch->codes, 0, FLOATS(layer0_weight_scale), 0, 1.0f, FLOATS(layer0_bias), scratch->a);

    /* layer1: Relu, 3 -> 3, within the codes */

    /* layer2: QuantizedDense, 3 -> 2, 8-bit weights */
    DECODE_ZEROS_8(layer2_zero_point, 1, scratch->zero_points);
    quantize_static(scratch->a, 3, FLOATS(layer2_inverse_scale), 0, ZEROS_8(layer2_zero_point, scratch->zero_points), 0, 255, scratch->codes);
    dense_i8(layer2_weight, 2, 3, scratch->codes, 0, FLOATS(layer2_weight_scale), 0, 1.0f, FLOATS(layer2_bias), action);

    /* layer3: SquashAction, 2 -> 2 */
    tanh_all(action, 2);
    return 0;
}

#endif

int integers_act(const float *observation, float *action)
{
    ALIGNED integers_scratch scratch;
    return integers_act_in(&scratch, observation, action);
}
