/* Decides 1 golden observations and compares with the reference's actions. */
#include <stdio.h>
#include "integers.h"

#if defined(__FLASH) /* an AVR, which would copy them to memory */
#define FLASH __flash
#else
#define FLASH
#endif

#define EXAMPLES 1
#define SIZE 2

static const FLASH float observations[1][5] = {
    {0.0f, 0.0f, 0.0f, 0.0f, 0.0f},
};

static const FLASH float actions[1][2] = {
    {0.0f, 0.0f},
};

static double largest = 0.0;
static const double tolerance = 0.0;

int integers_selftest(void)
{
    static float observation[5];
    int example, wrong = 0;
    largest = 0.0;
    for (example = 0; example < EXAMPLES; example++) {
        float action[SIZE];
        int i;
        for (i = 0; i < 5; i++) {
            observation[i] = observations[example][i];
        }
        if (integers_act(observation, action) != 0) {
            wrong++;
            continue;
        }
        for (i = 0; i < SIZE; i++) {
            double difference = (double)action[i] - (double)actions[example][i];
            difference = difference < 0.0 ? -difference : difference;
            largest = difference > largest ? difference : largest;
            wrong += !(difference <= tolerance); /* NaN is wrong too */
        }
    }
    return wrong;
}

#if defined(INTEGERS_SELFTEST_MAIN) /* else the program has a main of its own */
int main(void)
{
    const int wrong = integers_selftest();
    printf("%s: largest difference %g, allowed %g, in %d examples\n", wrong ? "FAILED" : "passed", largest, tolerance,
           EXAMPLES);
    return wrong != 0;
}
#endif
