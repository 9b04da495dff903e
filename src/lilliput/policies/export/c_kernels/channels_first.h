#include "core.h"
#include "x86.h"

/* (pixels, channels) as (channels, pixels), in which what follows convolutions was trained. */
KERNEL void channels_first(const float *RESTRICT x, size_t channels, size_t pixels, float *RESTRICT y)
{
    size_t channel, pixel, fours = 0;
#if defined(__SSE2__)
    fours = channels % 4 ? 0 : pixels - pixels % 4;
    for (pixel = 0; pixel < fours; pixel += 4) { /* four by four: a line of memory has several */
        for (channel = 0; channel < channels; channel += 4) {
            const float *from = x + pixel * channels + channel;
            float *to = y + channel * pixels + pixel;
            __m128 a = _mm_loadu_ps(from), b = _mm_loadu_ps(from + channels);
            __m128 c = _mm_loadu_ps(from + 2 * channels), d = _mm_loadu_ps(from + 3 * channels);
            _MM_TRANSPOSE4_PS(a, b, c, d);
            _mm_storeu_ps(to, a);
            _mm_storeu_ps(to + pixels, b);
            _mm_storeu_ps(to + 2 * pixels, c);
            _mm_storeu_ps(to + 3 * pixels, d);
        }
    }
#endif
    for (channel = 0; channel < channels; channel++) {
        for (pixel = fours; pixel < pixels; pixel++) {
            y[channel * pixels + pixel] = x[pixel * channels + channel];
        }
    }
}
