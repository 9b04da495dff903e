#include "core.h"

/* y = the numbers of x that the policy reads, each shifted up so that all count in one unit; shifts may be NULL. */
#define FIXED_GATHER(name, number) \
    KERNEL void name(const number *RESTRICT x, const FLASH uint16_t *RESTRICT indices, const FLASH uint8_t *RESTRICT shifts, \
                     size_t n, int32_t *RESTRICT y) \
    { \
        size_t i; \
        for (i = 0; i < n; i++) { \
            y[i] = (int32_t)x[indices == NULL ? i : indices[i]] * ((int32_t)1 << (shifts == NULL ? 0 : shifts[i])); \
        } \
    }
