"""What stands beside the C of a policy: a README, a Makefile, and what Arduino and PlatformIO ask of a library."""

import json

from lilliput.foreign_text import in_markdown, in_markdown_code
from lilliput.policies import last_action, layers, spaces
from lilliput.policies.export.c_source import CSource
from lilliput.policies.play.wrappers import OneHot, format_wrapper
from lilliput.policies.policy import Policy

C_FLAGS = "-std=c99 -O2 -ffp-contract=off"


def _sentence(policy: Policy) -> str:
    return f"A trained policy: {spaces.describe(policy.observation_space)} -> {spaces.describe(policy.action_space)}"


def arduino(policy: Policy, name: str) -> str:
    """library.properties: a value is the rest of a line, and `describe` gives one line."""
    return f"""\
name=Lilliput_{name}
version=1.0.0
author=Lilliput
maintainer=Lilliput
sentence={_sentence(policy)}
paragraph={policy.n_parameters} parameters, {policy.model_bytes} bytes of constants; policy {policy.digest[:16]}.
category=Data Processing
url=https://pypi.org/project/lilliput/
architectures=*
includes={name}.h
"""


def platformio(policy: Policy, name: str) -> str:
    """library.json."""
    about = {
        "name": f"Lilliput_{name}",
        "version": "1.0.0",
        "description": _sentence(policy),
        "frameworks": "*",
        "platforms": "*",
        "headers": f"{name}.h",
        "build": {
            "srcDir": ".",
            "srcFilter": ["-<*>", f"+<{name}.c>", f"+<{name}_selftest.c>"],
            "flags": ["-ffp-contract=off"],
        },
    }
    return json.dumps(about, indent=2) + "\n"


def makefile(name: str) -> str:
    """The Makefile."""
    return f"""\
# make          {name}.o, for this machine or with CC=arm-none-eabi-gcc CFLAGS='-mcpu=cortex-m4 ... -O2' another
# make test     decides the golden examples
CC     ?= cc
CFLAGS ?= {C_FLAGS}

{name}.o: {name}.c {name}.h {name}_kernels.h
	$(CC) $(CFLAGS) -c {name}.c -o $@

{name}_selftest: {name}_selftest.c {name}.o {name}.h
	$(CC) $(CFLAGS) -D{name.upper()}_SELFTEST_MAIN {name}_selftest.c {name}.o -lm -o $@

.PHONY: test clean
test: {name}_selftest
	./{name}_selftest

clean:
	rm -f {name}.o {name}_selftest
"""


def _between(policy: Policy) -> str:
    """What the caller does as the environment's side did; nothing where the policy stood right before it."""
    if not policy.provenance.wrappers:
        return ""
    worn = ", ".join(in_markdown_code(wrapper) for wrapper in policy.provenance.wrappers)
    one_hot = "; of each choice `one_hot` makes a number for every possibility, 1 for what it is, else 0"
    shown = one_hot if format_wrapper(OneHot()) in policy.provenance.wrappers else ""
    return f"\n\nBetween the environment and the policy stand, the environment's next first: {worn}{shown}."


def _unread(policy: Policy) -> str:
    """A sentence on numbers of the observation that need not be given."""
    front, _ = last_action.apart(policy)
    slots = [(one.start, one.start + one.size - 1) for one in front if isinstance(one, layers.PreviousAction)]
    return "".join(
        f" Numbers {a} to {b} of the observation may be anything: the policy remembers what it did." for a, b in slots
    )


def readme(policy: Policy, source: CSource, working: str, stack: tuple[int, int], name: str, use: str) -> str:
    """README.md; `working` and `stack` say what memory a decision takes, `use` how it is compiled."""
    made = f"Made by the recipe {in_markdown_code(policy.provenance.recipe)}.\n" if policy.provenance.recipe else ""
    spoken = in_markdown(f"{spaces.describe(policy.observation_space)} -> {spaces.describe(policy.action_space)}")
    undecided = "every choice is 0" if policy.is_discrete else "every number of the action is NaN"
    act, memory, unmoved = f"{name}_act(observation, action);", "no state", ""
    seen = "behind what is named below" if policy.provenance.wrappers else "as it is"
    if source.state:
        act = (
            f"static {name}_state state;\n\n{name}_reset(&state);                     /* an episode begins */\n"
            f"{name}_act(&state, observation, action);  /* at each step */"
        )
        memory = f"the state in your struct ({4 * sum(source.state.values())} bytes)"
        unmoved = " The state then stays as it was."
    return f"""\
# {name}: a policy in C

{spoken}
{made}
```c
#include "{name}.h"

{source.input_type} observation[{name.upper()}_OBSERVATION_SIZE] = {{ ... }};
{source.action_type} action[{name.upper()}_ACTION_SIZE];
{act}
```

The observation is the environment's, {seen}; the action is what the environment takes. No allocation, {memory}, no
dependency beyond the C library's math functions. C99, and valid C++. Where a number that the policy reads is NaN or
infinite, {undecided} and `{name}_act` returns 1, else 0.{unmoved}{_unread(policy)}{_between(policy)}

| | |
|---|---|
| constants (flash) | {policy.model_bytes} bytes |
| working memory (stack, or the caller's by `{name}_act_in`) | {working} |
| stack of a call on a microcontroller, all of it | at most {stack[0]} bytes, with a float unit {stack[1]} |
| parameters | {policy.n_parameters}, {policy.n_nonzero_parameters} of them not zero |
| multiply-accumulates a decision | {policy.n_macs} |

`make test` decides the golden examples and prints the largest difference; on a device, `{name}_selftest()` does, and
returns how many numbers came out wrong (`{name}_selftest.c` has a main only where `{name.upper()}_SELFTEST_MAIN` is
defined). Every name in it begins with `{name}`: policies of different names live in one program.

{use}"""


def use(name: str) -> str:
    """How the sources are compiled for one processor, in README.md."""
    return f"""Compile with `{C_FLAGS}` and link with `-lm`, never with
`-ffast-math`; `-O3 -march=native` (or the target's `-mcpu=`) chooses the kernels for the processor. The folder is
an Arduino and a PlatformIO library as it stands: copy it into `libraries/` or `lib/`. The self-test as an Arduino
sketch:

```cpp
#include <{name}.h>

void setup() {{
  Serial.begin(115200);
  Serial.println({name}_selftest()); // 0: all came out right
}}

void loop() {{}}
```
"""
