/* A trained policy as data and a plain sequence of calls; the kernels are in policy_kernels.h. */
#include "table.h"
#if !defined(LILLIPUT_INTEGERS)
#define LILLIPUT_INTEGERS TABLE_INTEGERS
#endif
#define MOST_ROWS 3
#define STORES_HALVES 1
#if defined(__AVR__)
#include <avr/io.h>
#if defined(__FLASH) && !defined(CONSTANTS_IN_MEMORY)
#if 44 > 60000 || 44 > FLASHEND
#error "the constants do not fit this processor's flash, or not the 64 KB of it that are read as data"
#endif
#elif 44 > RAMEND - RAMSTART
#error "the constants do not fit this processor's memory; compiled as C they stand in flash where they can"
#endif
#endif
#include "table_kernels.h"

ALIGNED static const FLASH float layer0_inverse_scale[1] = {
    20.0f,
};

ALIGNED static const FLASH int16_t layer0_zero_point[1] = {
    300,
};

ALIGNED static const FLASH uint8_t layer0_weight[8] = {
    25, 247, 95, 93, 179, 179, 215, 1,
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

#if TABLE_INTEGERS

static const FLASH requantize_row layer0_requantize[3] = {
    {890560219, 416546}, {890560219, 479394}, {890560219, 542243},
};

ALIGNED static const FLASH uint8_t layer0_first[256] = {
    9, 10, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27,
    28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46,
    47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63, 64, 64, 65,
    66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 83, 84, 85,
    86, 87, 88, 89, 90, 91, 91, 92, 93, 94, 95, 96, 97, 98, 99, 100, 101, 102, 103, 104,
    105, 106, 107, 108, 109, 110, 111, 112, 113, 114, 115, 116, 117, 118, 118, 119, 120, 121, 122, 123,
    124, 125, 126, 127, 128, 129, 130, 131, 132, 133, 134, 135, 136, 137, 138, 139, 140, 141, 142, 143,
    144, 145, 146, 146, 147, 148, 149, 150, 151, 152, 153, 154, 155, 156, 157, 158, 159, 160, 161, 162,
    163, 164, 165, 166, 167, 168, 169, 170, 171, 172, 173, 173, 174, 175, 176, 177, 178, 179, 180, 181,
    182, 183, 184, 185, 186, 187, 188, 189, 190, 191, 192, 193, 194, 195, 196, 197, 198, 199, 200, 200,
    201, 202, 203, 204, 205, 206, 207, 208, 209, 210, 211, 212, 213, 214, 215, 216, 217, 218, 219, 220,
    221, 222, 223, 224, 225, 226, 227, 227, 228, 229, 230, 231, 232, 233, 234, 235, 236, 237, 238, 239,
    240, 241, 242, 243, 244, 245, 246, 247, 248, 249, 250, 251, 252, 253, 254, 254,
};

ALIGNED static const FLASH int32_t layer0_steps[262] = {
    -2147483647, -2147483647, -2147483647, -2147483647, -2147483647, -2147483647, -2147483647, -2147483647, -2147483647, 1048576, 2132142, 3219251, 4306360, 5393470, 6480580, 7567690, 8654799, 9741909, 10829018, 11916128,
    13003237, 14090348, 15177456, 16264567, 17351675, 18438787, 19525895, 20613006, 21700114, 22787225, 23874333, 24961444, 26048552, 27135664, 28222772, 29309884, 30396990, 31484103, 32571209, 33658322,
    34745429, 35832542, 36919648, 38006761, 39093867, 40180980, 41268087, 42355200, 43442306, 44529419, 45616525, 46703638, 47790744, 48877857, 49964964, 51052077, 52139183, 53226296, 54313402, 55400515,
    56487620, 57574736, 58661839, 59748955, 60836059, 61923175, 63010278, 64097394, 65184497, 66271613, 67358716, 68445833, 69532936, 70620052, 71707155, 72794271, 73881374, 74968490, 76055593, 77142710,
    78229813, 79316929, 80404032, 81491148, 82578251, 83665368, 84752471, 85839587, 86926690, 88013806, 89100909, 90188025, 91275128, 92362245, 93449348, 94536464, 95623567, 96710683, 97797786, 98884903,
    99972006, 101059122, 102146225, 103233341, 104320444, 105407560, 106494663, 107581780, 108668883, 109755999, 110843102, 111930222, 113017318, 114104441, 115191537, 116278660, 117365757, 118452879, 119539976, 120627099,
    121714195, 122801318, 123888414, 124975537, 126062634, 127149757, 128236853, 129323976, 130411072, 131498195, 132585292, 133672414, 134759511, 135846634, 136933730, 138020853, 139107949, 140195072, 141282169, 142369292,
    143456388, 144543511, 145630607, 146717730, 147804827, 148891949, 149979046, 151066169, 152153265, 153240388, 154327484, 155414607, 156501704, 157588827, 158675923, 159763046, 160850142, 161937265, 163024362, 164111484,
    165198581, 166285704, 167372800, 168459923, 169547019, 170634142, 171721239, 172808362, 173895458, 174982581, 176069677, 177156800, 178243897, 179331019, 180418116, 181505239, 182592335, 183679458, 184766554, 185853677,
    186940774, 188027897, 189114993, 190202116, 191289212, 192376335, 193463431, 194550554, 195637651, 196724774, 197811870, 198898993, 199986089, 201073212, 202160309, 203247432, 204334528, 205421651, 206508747, 207595870,
    208682966, 209770089, 210857186, 211944309, 213031405, 214118528, 215205624, 216292747, 217379844, 218466967, 219554063, 220641186, 221728282, 222815405, 223902495, 224989631, 226076714, 227163850, 228250933, 229338070,
    230425153, 231512289, 232599372, 233686508, 234773591, 235860727, 236947811, 238034947, 239122030, 240209166, 241296249, 242383385, 243470468, 244557605, 245644688, 246731824, 247818907, 248906043, 249993126, 251080262,
    252167346, 253254482, 254341565, 255428701, 256515784, 257602920, 258690003, 259777140, 260864223, 261951359, 263038442, 264125578, 265212661, 266299797, 267386881, 2147483647, 2147483647, 2147483647, 2147483647, 2147483647,
    2147483647, 2147483647,
};

ALONE int table_act_in(table_scratch *scratch, const float *observation, float *action)
{
    const code_table layer0_table = {layer0_first, layer0_steps, 20};

    if (!all_finite(observation, 5)) {
        no_action(action, 2);
        return 1;
    }

    /* layer0: QuantizedDense, 5 -> 3, 4-bit weights */
    DECODE_ZEROS_16(layer0_zero_point, 1, scratch->zero_points);
    quantize_static(observation, 5, FLOATS(layer0_inverse_scale), 0, ZEROS_16(layer0_zero_point, scratch->zero_points), 0, 255, scratch->codes);
    packed_to_table(layer0_weight, 4, 3, 5, scratch->codes, 2, layer0_requantize, layer0_table, 256, 0, 0, scratch->next_codes);

    /* layer1: Silu, 3 -> 3, within the codes */

    /* layer2: QuantizedDense, 3 -> 2, 4-bit weights */
    dense_packed(layer2_weight, 4, 2, 3, scratch->next_codes, 0, FLOATS(layer2_weight_scale), 0, 1.0f, FLOATS(layer2_bias), action);

    /* layer3: SquashAction, 2 -> 2 */
    tanh_all(action, 2);
    return 0;
}

#else

ALIGNED static const FLASH float layer0_weight_scale[1] = {
    0.015625f,
};

ALIGNED static const FLASH uint16_t layer0_bias[3] = {
    0xba40, 0xb280, 0x3600,
};

ALIGNED static const FLASH float layer2_inverse_scale[1] = {
    0.1f,
};

ALIGNED static const FLASH uint8_t layer2_zero_point[1] = {
    9,
};

ALONE int table_act_in(table_scratch *scratch, const float *observation, float *action)
{

    if (!all_finite(observation, 5)) {
        no_action(action, 2);
        return 1;
    }

    /* layer0: QuantizedDense, 5 -> 3, 4-bit weights */
    DECODE_HALVES(layer0_bias, 3, scratch->real_0);
    DECODE_ZEROS_16(layer0_zero_point, 1, scratch->zero_points);
    quantize_static(observation, 5, FLOATS(layer0_inverse_scale), 0, ZEROS_16(layer0_zero_point, scratch->zero_points), 0, 255, scratch->codes);
    dense_packed(layer0_weight, 4, 3, 5, scratch->codes, 0, FLOATS(layer0_weight_scale), 0, 1.0f, HALVES(layer0_bias, scratch->real_0), scratch->a);

    /* layer1: Silu, 3 -> 3 */
    silu(scratch->a, 3);

    /* layer2: QuantizedDense, 3 -> 2, 4-bit weights */
    DECODE_ZEROS_8(layer2_zero_point, 1, scratch->zero_points);
    quantize_static(scratch->a, 3, FLOATS(layer2_inverse_scale), 0, ZEROS_8(layer2_zero_point, scratch->zero_points), 0, 255, scratch->codes);
    dense_packed(layer2_weight, 4, 2, 3, scratch->codes, 0, FLOATS(layer2_weight_scale), 0, 1.0f, FLOATS(layer2_bias), action);

    /* layer3: SquashAction, 2 -> 2 */
    tanh_all(action, 2);
    return 0;
}

#endif

int table_act(const float *observation, float *action)
{
    ALIGNED table_scratch scratch;
    return table_act_in(&scratch, observation, action);
}
