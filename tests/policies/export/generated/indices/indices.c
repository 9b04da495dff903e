/* A trained policy as data and a plain sequence of calls; the kernels are in policy_kernels.h. */
#include "indices.h"
#define MOST_ROWS 4
#define CONSTANTS_IN_MEMORY 1 /* on an AVR: kernels here read what was decoded and what was stored */
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
#include "indices_kernels.h"

ALIGNED static const FLASH uint8_t layer0_mask[5] = {
    170, 170, 170, 170, 170,
};

ALIGNED static const FLASH uint8_t layer1_weight[4] = {
    241, 244, 121, 0,
};

ALIGNED static const FLASH uint8_t layer1_columns[5] = {
    0, 19, 18, 17, 16,
};

ALIGNED static const FLASH uint8_t layer1_row_lengths[4] = {
    2, 1, 1, 1,
};

ALIGNED static const FLASH float layer1_weight_scale[1] = {
    0.015625f,
};

ALIGNED static const FLASH float layer1_bias[4] = {
    -0.78125f, -0.203125f, 0.375f, -0.625f,
};

ALIGNED static const FLASH float layer3_inverse_scale[1] = {
    0.1f,
};

ALIGNED static const FLASH uint8_t layer3_zero_point[1] = {
    0,
};

ALIGNED static const FLASH uint8_t layer3_weight[4] = {
    25, 247, 247, 213,
};

ALIGNED static const FLASH float layer3_weight_scale[1] = {
    0.015625f,
};

ALIGNED static const FLASH float layer3_bias[2] = {
    -0.78125f, -0.203125f,
};

ALONE int indices_act_in(indices_scratch *scratch, const float *observation, float *action)
{
    size_t first;
    size_t row;

    /* layer0: SelectInputs, 41 -> 20 */
    select_inputs_mask(layer0_mask, 40, observation, scratch->a);

    if (!all_finite(scratch->a, 20)) {
        no_action(action, 2);
        return 1;
    }

    /* layer1: QuantizedDense, 20 -> 4, 5-bit weights, zeros left out (indices) */
    first = 0;
    for (row = 0; row < 4; row++) {
        const size_t count = layer1_row_lengths[row];
        unpack_codes(layer1_weight, 5, first, count, scratch->value_codes);
        codes_to_float(scratch->value_codes, count, scratch->values);
        scratch->b[row] = indexed_u8_f32(scratch->values, layer1_columns + first, count, scratch->a);
        first += count;
    }
    scale_rows(scratch->b, 4, FLOATS(layer1_weight_scale), 0, FLOATS(layer1_bias));

    /* layer2: Relu, 4 -> 4, within the codes */

    /* layer3: QuantizedDense, 4 -> 2, 4-bit weights */
    DECODE_ZEROS_8(layer3_zero_point, 1, scratch->zero_points);
    quantize_static(scratch->b, 4, FLOATS(layer3_inverse_scale), 0, ZEROS_8(layer3_zero_point, scratch->zero_points), 0, 255, scratch->codes);
    dense_packed(layer3_weight, 4, 2, 4, scratch->codes, 0, FLOATS(layer3_weight_scale), 0, 1.0f, FLOATS(layer3_bias), action);

    /* layer4: SquashAction, 2 -> 2 */
    tanh_all(action, 2);
    return 0;
}

int indices_act(const float *observation, float *action)
{
    ALIGNED indices_scratch scratch;
    return indices_act_in(&scratch, observation, action);
}
