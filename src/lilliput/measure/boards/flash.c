/* The smallest program that decides: what a policy takes of flash and of static memory. */
#include "board.h"
#include POLICY

static volatile INPUT seen;
static volatile OUTPUT done;

int main(void)
{
    static INPUT observation[SIZE_OF_OBSERVATION];
    static OUTPUT action[SIZE_OF_ACTION];
    observation[0] = seen;
#if defined(WITH_POLICY) && defined(STATE)
    static STATE state;
    RESET(&state);
    DECIDE(&state, observation, action);
#elif defined(WITH_POLICY)
    DECIDE(observation, action);
#endif
    done = action[0];
    return 0;
}
