#include "core.h"
#include "x86.h"

/* A vector of LANES floats, where there are any, of which the widest vectors have kernels of their own. */
#if LILLIPUT_SOFT_FLOATS /* none */
#elif defined(__AVX2__) && defined(__FMA__)
#define LANES 8
typedef __m256 some_floats;
#define LOAD_SOME(from) _mm256_loadu_ps(from)
#define STORE_SOME(to, some) _mm256_storeu_ps(to, some)
#define EACH(value) _mm256_set1_ps(value)
#define ADD_SOME(a, b) _mm256_add_ps(a, b)
#define MULTIPLY_ADD_SOME(a, b, c) _mm256_fmadd_ps(a, b, c)
#elif defined(__SSE2__)
#define LANES 4
typedef __m128 some_floats;
#define LOAD_SOME(from) _mm_loadu_ps(from)
#define STORE_SOME(to, some) _mm_storeu_ps(to, some)
#define EACH(value) _mm_set1_ps(value)
#define ADD_SOME(a, b) _mm_add_ps(a, b)
#define MULTIPLY_SOME(a, b) _mm_mul_ps(a, b)
#define DIVIDE_SOME(a, b) _mm_div_ps(a, b)
#define MULTIPLY_ADD_SOME(a, b, c) _mm_add_ps(_mm_mul_ps(a, b), c)
#elif defined(__ARM_NEON) && defined(__aarch64__)
#include <arm_neon.h>
#define LANES 4
typedef float32x4_t some_floats;
#define LOAD_SOME(from) vld1q_f32(from)
#define STORE_SOME(to, some) vst1q_f32(to, some)
#define EACH(value) vdupq_n_f32(value)
#define ADD_SOME(a, b) vaddq_f32(a, b)
#define MULTIPLY_SOME(a, b) vmulq_f32(a, b)
#define DIVIDE_SOME(a, b) vdivq_f32(a, b)
#define MULTIPLY_ADD_SOME(a, b, c) vfmaq_f32(c, a, b)
#endif
