/* A trained policy as data and a plain sequence of calls; the kernels are in policy_kernels.h. */
#include "gru.h"
#define MOST_ROWS 9
#if defined(__AVR__)
#include <avr/io.h>
#if defined(__FLASH) && !defined(CONSTANTS_IN_MEMORY)
#if 932 > 60000 || 932 > FLASHEND
#error "the constants do not fit this processor's flash, or not the 64 KB of it that are read as data"
#endif
#elif 932 > RAMEND - RAMSTART
#error "the constants do not fit this processor's memory; compiled as C they stand in flash where they can"
#endif
#endif
#include "gru_kernels.h"

ALIGNED static const FLASH float layer1_input_weight[180] = {
    -0.78125f, -0.265625f, 0.25f, 0.765625f, -0.296875f, 0.21875f, 0.734375f, -0.328125f,
    0.1875f, -0.203125f, 0.3125f, -0.75f, -0.234375f, 0.28125f, -0.78125f, -0.265625f,
    0.25f, 0.765625f, 0.375f, -0.6875f, -0.171875f, 0.34375f, -0.71875f, -0.203125f,
    0.3125f, -0.75f, -0.234375f, -0.625f, -0.109375f, 0.40625f, -0.65625f, -0.140625f,
    0.375f, -0.6875f, -0.171875f, 0.34375f, -0.046875f, 0.46875f, -0.59375f, -0.078125f,
    0.4375f, -0.625f, -0.109375f, 0.40625f, -0.65625f, 0.53125f, -0.53125f, -0.015625f,
    0.5f, -0.5625f, -0.046875f, 0.46875f, -0.59375f, -0.078125f, -0.46875f, 0.046875f,
    0.5625f, -0.5f, 0.015625f, 0.53125f, -0.53125f, -0.015625f, 0.5f, 0.109375f,
    0.625f, -0.4375f, 0.078125f, 0.59375f, -0.46875f, 0.046875f, 0.5625f, -0.5f,
    0.6875f, -0.375f, 0.140625f, 0.65625f, -0.40625f, 0.109375f, 0.625f, -0.4375f,
    0.078125f, -0.3125f, 0.203125f, 0.71875f, -0.34375f, 0.171875f, 0.6875f, -0.375f,
    0.140625f, 0.65625f, 0.265625f, 0.78125f, -0.28125f, 0.234375f, 0.75f, -0.3125f,
    0.203125f, 0.71875f, -0.34375f, -0.734375f, -0.21875f, 0.296875f, -0.765625f, -0.25f,
    0.265625f, 0.78125f, -0.28125f, 0.234375f, -0.15625f, 0.359375f, -0.703125f, -0.1875f,
    0.328125f, -0.734375f, -0.21875f, 0.296875f, -0.765625f, 0.421875f, -0.640625f, -0.125f,
    0.390625f, -0.671875f, -0.15625f, 0.359375f, -0.703125f, -0.1875f, -0.578125f, -0.0625f,
    0.453125f, -0.609375f, -0.09375f, 0.421875f, -0.640625f, -0.125f, 0.390625f, 0.0f,
    0.515625f, -0.546875f, -0.03125f, 0.484375f, -0.578125f, -0.0625f, 0.453125f, -0.609375f,
    0.578125f, -0.484375f, 0.03125f, 0.546875f, -0.515625f, 0.0f, 0.515625f, -0.546875f,
    -0.03125f, -0.421875f, 0.09375f, 0.609375f, -0.453125f, 0.0625f, 0.578125f, -0.484375f,
    0.03125f, 0.546875f, 0.15625f, 0.671875f, -0.390625f, 0.125f, 0.640625f, -0.421875f,
    0.09375f, 0.609375f, -0.453125f, 0.734375f, -0.328125f, 0.1875f, 0.703125f, -0.359375f,
    0.15625f, 0.671875f, -0.390625f, 0.125f,
};

ALIGNED static const FLASH float layer1_input_bias[9] = {
    -0.78125f, -0.203125f, 0.375f, -0.625f, -0.046875f, 0.53125f, -0.46875f, 0.109375f,
    0.6875f,
};

ALIGNED static const FLASH float layer1_recurrent_weight[27] = {
    -0.78125f, -0.625f, -0.46875f, -0.3125f, -0.15625f, 0.0f, 0.15625f, 0.3125f,
    0.46875f, -0.203125f, -0.046875f, 0.109375f, 0.265625f, 0.421875f, 0.578125f, 0.734375f,
    -0.6875f, -0.53125f, 0.375f, 0.53125f, 0.6875f, -0.734375f, -0.578125f, -0.421875f,
    -0.265625f, -0.109375f, 0.046875f,
};

ALIGNED static const FLASH float layer1_recurrent_bias[9] = {
    -0.78125f, -0.203125f, 0.375f, -0.625f, -0.046875f, 0.53125f, -0.46875f, 0.109375f,
    0.6875f,
};

ALIGNED static const FLASH float layer2_weight[6] = {
    -0.78125f, -0.625f, -0.203125f, -0.046875f, 0.375f, 0.53125f,
};

ALIGNED static const FLASH float layer2_bias[2] = {
    -0.78125f, -0.203125f,
};

ALONE int gru_act_in(gru_state *state, gru_scratch *scratch,
               const float *observation, float *action)
{

    if (!all_finite(observation, 10)) {
        no_action(action, 2);
        return 1;
    }

    /* layer0: History, 10 -> 20 */
    remember_input(observation, 10, 1, state->layer0_history, scratch->a);

    /* layer1: Gru, 20 -> 3, float32 and float32 weights */
    dense_f32(layer1_input_weight, FLOATS(layer1_input_bias), 9, 20, scratch->a, scratch->gates);
    dense_f32(layer1_recurrent_weight, FLOATS(layer1_recurrent_bias), 9, 3, state->layer1_h, scratch->hidden_gates);
    gru_cell(scratch->gates, scratch->hidden_gates, 3, state->layer1_h, scratch->b);

    /* layer2: Dense, 3 -> 2, float32 weights */
    dense_f32(layer2_weight, FLOATS(layer2_bias), 2, 3, scratch->b, action);

    /* layer3: SquashAction, 2 -> 2 */
    tanh_all(action, 2);
    return 0;
}

int gru_act(gru_state *state, const float *observation, float *action)
{
    ALIGNED gru_scratch scratch;
    return gru_act_in(state, &scratch, observation, action);
}

void gru_reset(gru_state *state)
{
    memset(state->layer0_history, 0, sizeof state->layer0_history);
    memset(state->layer1_h, 0, sizeof state->layer1_h);
}
