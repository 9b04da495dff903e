/* What every kernel stands on. */
#if defined(__FAST_MATH__)
#error "-ffast-math changes what a policy decides: compile without it"
#endif
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Each rounding counts: a product and a sum are joined only where multiply_add says so. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

/* As C++, gcc 12 finds undefined values in its own header of AVX-512. */
#if defined(__cplusplus) && defined(__AVX512F__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#if defined(__GNUC__)
#define KERNEL static inline __attribute__((unused))
#define ALWAYS_INLINE static inline __attribute__((always_inline, unused))
#define OUT_OF_LINE static __attribute__((noinline, unused)) /* whose loop needs all registers */
#else
#define KERNEL static inline
#define ALWAYS_INLINE static inline
#define OUT_OF_LINE static
#endif

/* Weights are stored in blocks of 16 rows: a column of a block is one vector of a large processor. */
#define BLOCK_ROWS 16
/* How many rows of a block have room in working memory: without vectors as many as this policy's largest block has. */
#if !defined(MOST_ROWS) || defined(__SSE2__) || defined(__ARM_NEON) || defined(__wasm_simd128__) || defined(_M_X64)
#undef MOST_ROWS
#define MOST_ROWS BLOCK_ROWS
#endif
/* Where constants stand. An AVR reads flash by instructions of its own, and so its pointers have types of their own. */
#if defined(__FLASH) && !defined(CONSTANTS_IN_MEMORY)
#define FLASH __flash
#define FLASH_APART 1
#else
#define FLASH
#endif
/* Vectors of 64 bytes are read fastest from where a cache line begins. */
#if defined(__AVX2__)
#define ALIGNED __attribute__((aligned(64)))
#elif defined(__ARM_FEATURE_DSP) /* several words are loaded at once */
#define ALIGNED __attribute__((aligned(4)))
#else
#define ALIGNED
#endif
#if defined(__cplusplus)
#define RESTRICT
#else
#define RESTRICT restrict
#endif

/* Processors without vectors, and those among them without floats: a float operation is dozens of instructions. */
#if LILLIPUT_INTEGERS || !(defined(__SSE2__) || defined(__ARM_NEON) || defined(__wasm_simd128__) || defined(_M_X64))
#define SCALAR 1
#endif
#if !defined(LILLIPUT_SOFT_FLOATS)
#if (defined(__arm__) && !defined(__ARM_FP)) || (defined(__riscv) && !defined(__riscv_flen)) || defined(__AVR__) \
    || defined(__MSP430__)
#define LILLIPUT_SOFT_FLOATS 1
#else
#define LILLIPUT_SOFT_FLOATS 0
#endif
#endif

/* Without a float unit a function that calls float routines stands alone: one copy in flash, and less on the stack than
   what it is called from would need for both. */
#if LILLIPUT_SOFT_FLOATS && defined(__GNUC__)
#define ALONE __attribute__((noinline))
#define KERNEL_ALONE static __attribute__((noinline, unused))
#else
#define ALONE
#define KERNEL_ALONE KERNEL
#endif

/* The bytes of a stream of n fields. */
KERNEL size_t bytes_of_fields(size_t n, unsigned bits)
{
    return n / 8 * bits + (n % 8 * bits + 7) / 8;
}

/* a * b + c, rounded once where the processor has an instruction for it. */
KERNEL float multiply_add(float a, float b, float c)
{
#if defined(__FP_FAST_FMAF) || defined(FP_FAST_FMAF)
    return fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

KERNEL uint32_t float_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

KERNEL float float_from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Spells the next loop out, so that an array of a fixed size stays in registers. */
#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#elif defined(__GNUC__) && __GNUC__ >= 8
#define UNROLL _Pragma("GCC unroll 16")
#else
#define UNROLL
#endif

/* NaN becomes `low`. */
KERNEL_ALONE float clamp(float x, float low, float high)
{
    x = x > low ? x : low;
    return x < high ? x : high;
}
