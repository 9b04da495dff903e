#include "look_up.h"

#if defined(TABLE_PARTS)
ALWAYS_INLINE __m128i sixteen_bytes(const uint8_t *bytes)
{
    return _mm_loadu_si128((const __m128i *)(const void *)bytes);
}

/* Sixteen pixels of four channels. */
ALWAYS_INLINE void interleave(__m128i a, __m128i b, __m128i c, __m128i d, uint8_t *codes)
{
    const __m128i ab = _mm_unpacklo_epi8(a, b), cd = _mm_unpacklo_epi8(c, d);
    const __m128i ab_high = _mm_unpackhi_epi8(a, b), cd_high = _mm_unpackhi_epi8(c, d);
    __m128i *to = (__m128i *)(void *)codes;
    _mm_storeu_si128(to, _mm_unpacklo_epi16(ab, cd));
    _mm_storeu_si128(to + 1, _mm_unpackhi_epi16(ab, cd));
    _mm_storeu_si128(to + 2, _mm_unpacklo_epi16(ab_high, cd_high));
    _mm_storeu_si128(to + 3, _mm_unpackhi_epi16(ab_high, cd_high));
}
#endif

#if defined(LOOK_UP_64)
/* Looked up together, then interleaved. */
ALWAYS_INLINE void look_up_pixels(const table_part *quarters, const uint8_t *bytes, size_t pixels, uint8_t *codes)
{
    const __m256i first = _mm256_set_m128i(sixteen_bytes(bytes + pixels), sixteen_bytes(bytes));
    const __m256i second = _mm256_set_m128i(sixteen_bytes(bytes + 3 * pixels), sixteen_bytes(bytes + 2 * pixels));
    const __m512i found = look_up_64(quarters, _mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1));
    interleave(_mm512_castsi512_si128(found), _mm512_extracti32x4_epi32(found, 1), _mm512_extracti32x4_epi32(found, 2),
               _mm512_extracti32x4_epi32(found, 3), codes);
}
#elif defined(LOOK_UP_32)
ALWAYS_INLINE void look_up_pixels(const table_part *steps, const uint8_t *bytes, size_t pixels, uint8_t *codes)
{
    const __m256i first = _mm256_set_m128i(sixteen_bytes(bytes + pixels), sixteen_bytes(bytes));
    const __m256i second = _mm256_set_m128i(sixteen_bytes(bytes + 3 * pixels), sixteen_bytes(bytes + 2 * pixels));
    const __m256i ab = look_up_32(steps, first), cd = look_up_32(steps, second);
    interleave(_mm256_castsi256_si128(ab), _mm256_extracti128_si256(ab, 1), _mm256_castsi256_si128(cd),
               _mm256_extracti128_si256(cd, 1), codes);
}
#endif

/* codes (pixels, channels) = the entries of a table for bytes (channels, pixels). */
KERNEL void look_up_image(const uint8_t *RESTRICT bytes, size_t channels, size_t pixels, const uint8_t *RESTRICT table,
                          uint8_t *RESTRICT codes)
{
    size_t whole = 0, channel, pixel;
#if defined(TABLE_PARTS)
    if (channels == 4) {
        table_part parts[TABLE_PARTS];
        load_table(table, parts);
        whole = pixels - pixels % 16;
        for (pixel = 0; pixel < whole; pixel += 16) {
            look_up_pixels(parts, bytes + pixel, pixels, codes + 4 * pixel);
        }
    }
#endif
    for (pixel = whole; pixel < pixels; pixel++) {
        for (channel = 0; channel < channels; channel++) {
            codes[pixel * channels + channel] = table[bytes[channel * pixels + pixel]];
        }
    }
}
