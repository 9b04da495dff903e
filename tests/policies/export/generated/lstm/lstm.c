/* A trained policy as data and a plain sequence of calls; the kernels are in policy_kernels.h. */
#include "lstm.h"
#define MOST_ROWS 12
#if defined(__AVR__)
#include <avr/io.h>
#if defined(__FLASH) && !defined(CONSTANTS_IN_MEMORY)
#if 432 > 60000 || 432 > FLASHEND
#error "the constants do not fit this processor's flash, or not the 64 KB of it that are read as data"
#endif
#elif 432 > RAMEND - RAMSTART
#error "the constants do not fit this processor's memory; compiled as C they stand in flash where they can"
#endif
#endif
#include "lstm_kernels.h"

ALIGNED static const FLASH float layer0_input_weight[60] = {
    -0.78125f, 0.53125f, 0.265625f, 0.0f, -0.265625f, -0.53125f, 0.78125f, 0.515625f,
    0.25f, -0.015625f, -0.28125f, -0.546875f, -0.203125f, -0.46875f, -0.734375f, 0.578125f,
    0.3125f, 0.046875f, -0.21875f, -0.484375f, -0.75f, 0.5625f, 0.296875f, 0.03125f,
    0.375f, 0.109375f, -0.15625f, -0.421875f, -0.6875f, 0.625f, 0.359375f, 0.09375f,
    -0.171875f, -0.4375f, -0.703125f, 0.609375f, -0.625f, 0.6875f, 0.421875f, 0.15625f,
    -0.109375f, -0.375f, -0.640625f, 0.671875f, 0.40625f, 0.140625f, -0.125f, -0.390625f,
    -0.046875f, -0.3125f, -0.578125f, 0.734375f, 0.46875f, 0.203125f, -0.0625f, -0.328125f,
    -0.59375f, 0.71875f, 0.453125f, 0.1875f,
};

ALIGNED static const FLASH float layer0_input_bias[12] = {
    -0.78125f, -0.203125f, 0.375f, -0.625f, -0.046875f, 0.53125f, -0.46875f, 0.109375f,
    0.6875f, -0.3125f, 0.265625f, -0.734375f,
};

ALIGNED static const FLASH int8_t layer0_recurrent_weight[36] = {
    -127, -15, 95, -49, 63, -81, 29, -115, -3, 107, -37, 75, -89, 21, -123, -11, 99, -45, 67, -77,
    33, -111, 1, 111, -53, 59, -85, 25, -119, -7, 103, -41, 71, -73, 37, -107,
};

ALIGNED static const FLASH float layer0_recurrent_weight_scale[1] = {
    0.015625f,
};

ALIGNED static const FLASH float layer0_recurrent_bias[12] = {
    -0.78125f, -0.203125f, 0.375f, -0.625f, -0.046875f, 0.53125f, -0.46875f, 0.109375f,
    0.6875f, -0.3125f, 0.265625f, -0.734375f,
};

ALIGNED static const FLASH float layer0_initial[6] = {
    -0.78125f, -0.203125f, 0.375f, -0.625f, -0.046875f, 0.53125f,
};

ALIGNED static const FLASH float layer1_weight[6] = {
    -0.78125f, -0.625f, -0.203125f, -0.046875f, 0.375f, 0.53125f,
};

ALIGNED static const FLASH float layer1_bias[2] = {
    -0.78125f, -0.203125f,
};

ALONE int lstm_act_in(lstm_state *state, lstm_scratch *scratch,
                const float *observation, float *action)
{

    if (!all_finite(observation, 5)) {
        no_action(action, 2);
        return 1;
    }

    /* layer0: Lstm, 5 -> 3, float32 and 8-bit weights */
    dense_f32(layer0_input_weight, FLOATS(layer0_input_bias), 12, 5, observation, scratch->gates);
    dense_i8_f32(layer0_recurrent_weight, NO_REALS, 12, 3, state->layer0_h, scratch->hidden_gates);
    scale_rows(scratch->hidden_gates, 12, FLOATS(layer0_recurrent_weight_scale), 0, FLOATS(layer0_recurrent_bias));
    lstm_cell(scratch->gates, scratch->hidden_gates, 3, state->layer0_c, state->layer0_h, scratch->a);

    /* layer1: Dense, 3 -> 2, float32 weights */
    dense_f32(layer1_weight, FLOATS(layer1_bias), 2, 3, scratch->a, action);

    /* layer2: SquashAction, 2 -> 2 */
    tanh_all(action, 2);
    return 0;
}

int lstm_act(lstm_state *state, const float *observation, float *action)
{
    ALIGNED lstm_scratch scratch;
    return lstm_act_in(state, &scratch, observation, action);
}

void lstm_reset(lstm_state *state)
{
    begin_with_floats(layer0_initial, 3, state->layer0_h);
    begin_with_floats(layer0_initial + 3, 3, state->layer0_c);
}
