#include "core.h"

/* (channels, pixels) as (pixels, channels), in which convolutions work. */
KERNEL void channels_last(const float *RESTRICT x, size_t channels, size_t pixels, float *RESTRICT y)
{
    size_t channel, pixel;
    if (channels == 4) { /* stacked frames: compilers interleave four streams */
        for (pixel = 0; pixel < pixels; pixel++) {
            y[4 * pixel] = x[pixel];
            y[4 * pixel + 1] = x[pixels + pixel];
            y[4 * pixel + 2] = x[2 * pixels + pixel];
            y[4 * pixel + 3] = x[3 * pixels + pixel];
        }
        return;
    }
    for (pixel = 0; pixel < pixels; pixel++) {
        for (channel = 0; channel < channels; channel++) {
            y[pixel * channels + channel] = x[channel * pixels + pixel];
        }
    }
}
