#include "core.h"

/* Codes over the observation's own range and 0, as ONNX DynamicQuantizeLinear; returns the scale. */
KERNEL float quantize_dynamic(const float *RESTRICT x, size_t n, int32_t top, uint8_t *RESTRICT codes,
                              int32_t *zero_point)
{
    const float to_integer = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer in the low bits */
    const size_t whole = n - n % 16;
    float lows[16] = {0.0f}, highs[16] = {0.0f}, low = 0.0f, high = 0.0f, scale;
    int32_t zero;
    size_t i, k;
    for (i = 0; i < whole; i += 16) { /* sixteen ranges side by side, of which compilers make vectors */
        for (k = 0; k < 16; k++) {
            lows[k] = x[i + k] < lows[k] ? x[i + k] : lows[k];
            highs[k] = x[i + k] > highs[k] ? x[i + k] : highs[k];
        }
    }
    for (k = 0; k < 16; k++) {
        low = lows[k] < low ? lows[k] : low;
        high = highs[k] > high ? highs[k] : high;
    }
    for (i = whole; i < n; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    scale = (high - low) / (float)top;
    if (!(scale > 0.0f)) {
        scale = 1.0f;
    }
    zero = (int32_t)(float_bits(clamp(-low / scale, 0.0f, (float)top) + to_integer) - float_bits(to_integer));
    for (i = 0; i < n; i++) {
        float scaled = clamp(x[i] / scale, (float)-zero, (float)(top - zero));
        codes[i] = (uint8_t)((int32_t)(float_bits(scaled + to_integer) - float_bits(to_integer)) + zero);
    }
    *zero_point = zero;
    return scale;
}
