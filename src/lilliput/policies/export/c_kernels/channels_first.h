#include "core.h"

/* (pixels, channels) as (channels, pixels), in which what follows convolutions was trained. */
KERNEL void channels_first(const float *RESTRICT x, size_t channels, size_t pixels, float *RESTRICT y)
{
    size_t channel, pixel;
    for (channel = 0; channel < channels; channel++) {
        for (pixel = 0; pixel < pixels; pixel++) {
            y[channel * pixels + pixel] = x[pixel * channels + channel];
        }
    }
}
