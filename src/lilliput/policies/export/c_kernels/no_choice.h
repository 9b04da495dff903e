#include "core.h"

/* What a policy chooses that cannot decide. */
KERNEL void no_choice(int32_t *action, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++) {
        action[i] = 0;
    }
}
