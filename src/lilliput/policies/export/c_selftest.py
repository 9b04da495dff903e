"""The self-test of the C format: golden examples as data, and a function that decides them."""

import numpy as np

from lilliput.policies.export.c_source import CSource
from lilliput.policies.export.c_text import c_type, rows
from lilliput.policies.fixed_point import ACTION_BITS

MAX_NUMBERS = 1 << 18
"""Numbers in the observations: images are many, and a compiler reads them all."""


def selftest(source: CSource, name: str, observations: np.ndarray, actions: np.ndarray, tolerance: float) -> str:
    """The text of the file: `<name>_selftest`, and a main for it where `<NAME>_SELFTEST_MAIN` is defined."""
    remembers, steps = bool(source.state), 1
    if remembers:  # whole sequences, one behind the other
        steps = observations.shape[1]
        whole = max(1, MAX_NUMBERS // int(np.prod(observations.shape[1:])))
        observations, actions = (np.concatenate(array[:whole]) for array in (observations, actions))
    size = int(np.prod(observations.shape[1:]))
    n = max(1, min(len(observations), MAX_NUMBERS // size))
    inputs = np.ascontiguousarray(observations[:n], np.uint8 if source.input_type == "uint8_t" else np.float32)
    outputs = np.ascontiguousarray(actions[:n], np.int32 if actions.dtype.kind == "i" else np.float32)
    if source.units is not None:
        inputs = source.units.integers(observations[:n])
        if actions.dtype.kind == "f":
            outputs = np.rint(actions[:n].astype(np.float64) * 2.0**ACTION_BITS).astype(np.int32)
            tolerance = float(np.ceil(tolerance * 2.0**ACTION_BITS))
    n_actions = outputs.size // n

    def table(of: str, values: np.ndarray, length: int) -> str:
        lines = "\n".join("    {" + ",\n     ".join(rows(row)) + "}," for row in values.reshape(n, -1))
        return f"static const FLASH {c_type(values.dtype)} {of}[{n}][{length}] = {{\n{lines}\n}};\n"

    declared = f"    static {name}_state state;\n" if remembers else ""
    reset = ""
    if remembers:
        reset = f"        if (example % {steps} == 0) {{\n            {name}_reset(&state);\n        }}\n"
    what = f"{n} golden observations, an episode of {steps} after another," if remembers else f"{n} golden observations"
    return f"""\
/* Decides {what} and compares with the reference's actions. */
#include <stdio.h>
#include "{name}.h"

#if defined(__FLASH) /* an AVR, which would copy them to memory */
#define FLASH __flash
#else
#define FLASH
#endif

#define EXAMPLES {n}
#define SIZE {n_actions}

{table("observations", inputs, size)}
{table("actions", outputs, n_actions)}
static double largest = 0.0;
static const double tolerance = {tolerance!r};

int {name}_selftest(void)
{{
    static {source.input_type} observation[{size}];
{declared}\
    int example, wrong = 0;
    largest = 0.0;
    for (example = 0; example < EXAMPLES; example++) {{
        {source.action_type} action[SIZE];
        int i;
        for (i = 0; i < {size}; i++) {{
            observation[i] = observations[example][i];
        }}
{reset}\
        if ({name}_act({"&state, " if remembers else ""}observation, action) != 0) {{
            wrong++;
            continue;
        }}
        for (i = 0; i < SIZE; i++) {{
            double difference = (double)action[i] - (double)actions[example][i];
            difference = difference < 0.0 ? -difference : difference;
            largest = difference > largest ? difference : largest;
            wrong += !(difference <= tolerance); /* NaN is wrong too */
        }}
    }}
    return wrong;
}}

#if defined({name.upper()}_SELFTEST_MAIN) /* else the program has a main of its own */
int main(void)
{{
    const int wrong = {name}_selftest();
    printf("%s: largest difference %g, allowed %g, in %d examples\\n", wrong ? "FAILED" : "passed", largest, tolerance,
           EXAMPLES);
    return wrong != 0;
}}
#endif
"""
