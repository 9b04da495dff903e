#include "look_up.h"

#if defined(LOOK_UP_64)
ALWAYS_INLINE __m128i sixteen_bytes(const uint8_t *bytes)
{
    return _mm_loadu_si128((const __m128i *)(const void *)bytes);
}

/* Sixteen pixels of four channels: looked up together, then interleaved. */
ALWAYS_INLINE void look_up_pixels(const __m512i *quarters, const uint8_t *bytes, size_t pixels, uint8_t *codes)
{
    const __m256i first = _mm256_set_m128i(sixteen_bytes(bytes + pixels), sixteen_bytes(bytes));
    const __m256i second = _mm256_set_m128i(sixteen_bytes(bytes + 3 * pixels), sixteen_bytes(bytes + 2 * pixels));
    const __m512i found = look_up_64(quarters, _mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1));
    const __m128i a = _mm512_castsi512_si128(found), b = _mm512_extracti32x4_epi32(found, 1);
    const __m128i c = _mm512_extracti32x4_epi32(found, 2), d = _mm512_extracti32x4_epi32(found, 3);
    const __m128i ab = _mm_unpacklo_epi8(a, b), cd = _mm_unpacklo_epi8(c, d);
    const __m128i ab_high = _mm_unpackhi_epi8(a, b), cd_high = _mm_unpackhi_epi8(c, d);
    __m128i *to = (__m128i *)(void *)codes;
    _mm_storeu_si128(to, _mm_unpacklo_epi16(ab, cd));
    _mm_storeu_si128(to + 1, _mm_unpackhi_epi16(ab, cd));
    _mm_storeu_si128(to + 2, _mm_unpacklo_epi16(ab_high, cd_high));
    _mm_storeu_si128(to + 3, _mm_unpackhi_epi16(ab_high, cd_high));
}
#endif

/* codes (pixels, channels) = the entries of a table for bytes (channels, pixels). */
KERNEL void look_up_image(const uint8_t *RESTRICT bytes, size_t channels, size_t pixels, const uint8_t *RESTRICT table,
                          uint8_t *RESTRICT codes)
{
    size_t whole = 0, channel, pixel;
#if defined(LOOK_UP_64)
    if (channels == 4) {
        __m512i quarters[4];
        load_quarters(table, quarters);
        whole = pixels - pixels % 16;
        for (pixel = 0; pixel < whole; pixel += 16) {
            look_up_pixels(quarters, bytes + pixel, pixels, codes + 4 * pixel);
        }
    }
#endif
    for (pixel = whole; pixel < pixels; pixel++) {
        for (channel = 0; channel < channels; channel++) {
            codes[pixel * channels + channel] = table[bytes[channel * pixels + pixel]];
        }
    }
}
