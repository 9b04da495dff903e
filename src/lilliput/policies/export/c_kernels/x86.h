/* The vector instructions of x86. All of immintrin.h takes longer to read than most policies take to compile. */
#if defined(__AVX__) || defined(__BMI2__)
#include <immintrin.h>
#elif defined(__SSE4_1__)
#include <smmintrin.h>
#elif defined(__SSSE3__)
#include <tmmintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif
