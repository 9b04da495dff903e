#include "count_ones.h"

#if defined(__AVX512VBMI2__) && defined(__AVX512VBMI__) && defined(__AVX512BW__) && defined(__BMI2__) && defined(__x86_64__)
#include <immintrin.h>
#define DECODES_VECTORS

/* 64 fields of `bits` bits (2 to 7), lowest bits first, as signed bytes; the first begins at `offset` (up to 7). */
ALWAYS_INLINE __m512i spread_fields(const unsigned bits, unsigned offset, __m512i stream)
{
    /* Eight fields, wherever in a byte they begin, lie in eight bytes: each eight bytes into a lane, each field of it
       into a byte. */
    const __m512i starts = _mm512_mullo_epi16(_mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0), _mm512_set1_epi64(bits));
    const __m512i everywhere = _mm512_set4_epi64(0x0808080808080808, 0, 0x0808080808080808, 0);
    const __m512i bytes = _mm512_add_epi8(_mm512_shuffle_epi8(starts, everywhere), _mm512_set1_epi64(0x0706050403020100));
    const __m512i fields = _mm512_set1_epi64((long long)(0x0706050403020100u * bits + 0x0101010101010101u * offset));
    const __m512i low = _mm512_set1_epi8((char)((1u << bits) - 1)), half = _mm512_set1_epi8((char)(1u << (bits - 1)));
    const __mmask64 all = _cvtu64_mask64(~(uint64_t)0); /* unmasked, gcc 12 warns of its own header */
    stream = _mm512_maskz_multishift_epi64_epi8(all, fields, _mm512_maskz_permutexvar_epi8(all, bytes, stream));
    return _mm512_sub_epi8(_mm512_xor_si512(_mm512_and_si512(stream, low), half), half);
}

/* The first n bytes (up to 64) from memory, and no byte beyond them; zeros after. */
ALWAYS_INLINE __m512i first_bytes(const void *from, size_t n)
{
    return _mm512_maskz_loadu_epi8(_cvtu64_mask64(_bzhi_u64(~(uint64_t)0, (unsigned)n)), from);
}

/* The next 64 weights as codes; see decode_codes. Adds to `first`. */
ALWAYS_INLINE __m512i decode_64(const unsigned bits, const FLASH void *values, const FLASH uint8_t *mask, size_t *first)
{
    const uint8_t *from = (const uint8_t *)values + *first * bits / 8;
    const unsigned offset = (unsigned)(*first * bits % 8);
    uint64_t kept;
    size_t count;
    __m512i codes;
    if (bits < 8 && mask == NULL) { /* whole groups of eight: no field begins within a byte */
        *first += 64;
        return spread_fields(bits, 0, first_bytes(from, 8 * bits));
    }
    memcpy(&kept, mask, 8);
    count = count_ones(kept);
    *first += count;
    codes = first_bytes(from, (offset + count * bits + 7) / 8);
    if (bits < 8) {
        codes = spread_fields(bits, offset, codes);
    }
    return _mm512_maskz_expand_epi8(_cvtu64_mask64(kept), codes);
}

/* The next 16 weights as floats, from floats (32 bits) or half precision (16); see decode_floats. Adds to `first`. */
ALWAYS_INLINE __m512 decode_16(const unsigned bits, const FLASH void *values, const FLASH uint8_t *mask, size_t *first)
{
    uint16_t kept = 0xffff;
    unsigned count = 16;
    __mmask16 stored = 0xffff;
    __m512 weights;
    if (mask != NULL) {
        memcpy(&kept, mask, 2);
        count = count_ones(kept);
        stored = (__mmask16)((1u << count) - 1u);
    }
    if (bits == 32) {
        weights = _mm512_maskz_loadu_ps(stored, (const float *)values + *first);
    } else {
        weights = _mm512_maskz_cvtph_ps((__mmask16)0xffff, _mm256_maskz_loadu_epi16(stored, (const uint16_t *)values + *first));
    }
    *first += count;
    return mask == NULL ? weights : _mm512_maskz_expand_ps((__mmask16)kept, weights);
}
#endif
