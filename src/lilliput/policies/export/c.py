"""The C format: a policy as one C99 header and source with constant data, a self-test, a Makefile and a README."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import spaces
from lilliput.policies.export import c_kernels
from lilliput.policies.export.c_source import Source, generate
from lilliput.policies.export.c_text import c_type, rows
from lilliput.policies.policy import Policy, layer_shapes

DEFAULT_PREFIX = "policy"
MAX_SELFTEST_NUMBERS = 1 << 18
"""Numbers in the self-test's observations: images are many, and a compiler reads them all."""

_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")

_C_FLAGS = "-std=c99 -O2 -ffp-contract=off"


def write(
    policy: Policy,
    folder: Path,
    observations: np.ndarray,
    actions: np.ndarray,
    tolerance: float,
    *,
    prefix: str = DEFAULT_PREFIX,
) -> None:
    """Nothing; writes policy.h, policy.c, policy_kernels.h, selftest.c and what builds and describes them.

    Args:
        policy: the policy.
        folder: where to.
        observations: golden examples, (n, *input shape).
        actions: the reference's actions for them, batch first.
        tolerance: how far an action may be off; 0 for choices.
        prefix: what the names of C start with.

    Raises:
        LilliputError: a prefix that is no C name, or a policy that the C format cannot hold.
    """
    if not _PREFIX.fullmatch(prefix):
        raise LilliputError(f"prefix is {prefix!r}; it must be a C name of at most 40 letters, digits and underscores")
    source, integers = generate(policy)
    sizes = _Sizes(policy)
    called = c_kernels.called(source.body + (integers.body if integers else ""))
    texts = {
        "policy.h": _header(policy, source, integers, sizes, prefix),
        "policy.c": _source(source, integers, prefix),
        "policy_kernels.h": _KERNELS_HEADER + c_kernels.bundle(called) + "#endif\n",
        "selftest.c": _selftest(source, sizes, observations, actions, tolerance, prefix),
        "Makefile": _MAKEFILE,
        "README.md": _readme(policy, source, integers, sizes, prefix),
        "library.properties": _arduino(policy, prefix),
        "library.json": _platformio(policy, prefix),
    }
    for name, text in texts.items():
        (folder / name).write_text(text)


class _Sizes:
    def __init__(self, policy: Policy) -> None:
        self.observation = int(np.prod(layer_shapes(policy)[0]))
        match policy.action_space:
            case spaces.Box():
                self.action = policy.action_space.size
            case spaces.Discrete():
                self.action = 1
            case spaces.MultiDiscrete(sizes=groups):
                self.action = len(groups)


def _scratch_fields(source: Source) -> str:
    fields = []
    for kind, name, length in source.scratch or (("float", "a", 1),):
        field = f"    {kind} {name}[{length}];"
        fields += ["#if defined(__ARM_FEATURE_DSP)", field, "#endif"] if name == "pairs" else [field]
    return "\n".join(fields)


LARGE_TABLES = 0.5
"""Tables larger than this share of the constants cost a processor with a float unit more flash than they are worth."""

_INTEGERS = """\
/* 1: integers between the layers that are quantized, for processors without {units}. 0: floats. Their actions
   are the same, but where a number lies within a rounding error of the middle between two codes. */
#if !defined(LILLIPUT_INTEGERS)
#if defined(__SSE2__) || defined(__ARM_NEON) || defined(__wasm_simd128__) || defined(_M_X64){also}
#define LILLIPUT_INTEGERS 0
#else
#define LILLIPUT_INTEGERS 1
#endif
#endif

"""
_OR_FLOAT_UNIT = " \\\n    || defined(__ARM_FP) || defined(__riscv_flen)"


def _integers(policy: Policy, integers: Source) -> str:
    if integers.table_bytes <= LARGE_TABLES * policy.model_bytes:
        return _INTEGERS.format(units="vectors of floats", also="")
    return _INTEGERS.format(units="a float unit", also=_OR_FLOAT_UNIT)


def _header(policy: Policy, source: Source, integers: Source | None, sizes: _Sizes, prefix: str) -> str:
    upper = prefix.upper()
    fields, working = _scratch_fields(source), f"{source.scratch_bytes} bytes"
    if integers is not None:
        fields = f"#if LILLIPUT_INTEGERS\n{_scratch_fields(integers)}\n#else\n{fields}\n#endif"
        working = f"at most {integers.scratch_bytes} bytes with integers, else {working}"
    choice = "" if not policy.is_discrete else " Each number of the action is a choice, counted from 0."
    recipe = f", {policy.provenance.recipe}" if policy.provenance.recipe else ""
    return f"""\
/* {spaces.describe(policy.observation_space)} -> {spaces.describe(policy.action_space)}
   {policy.n_parameters} parameters, {policy.n_macs} multiply-accumulates a decision,
   {policy.model_bytes} bytes of constants. Policy {policy.digest[:16]}{recipe} */
#ifndef {upper}_POLICY_H
#define {upper}_POLICY_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

#define {upper}_OBSERVATION_SIZE {sizes.observation}
#define {upper}_ACTION_SIZE {sizes.action}

{"" if integers is None else _integers(policy, integers)}\
/* Working memory of one decision: {working}. Nothing in it need be kept or cleared. */
typedef struct {{
{fields}
}} {prefix}_scratch;

/* Writes the environment's action for one raw observation, flattened row by row; everything between the two, such as
   normalization and clipping, is inside.{choice} The two arrays may not overlap.
   Needs the working memory on the stack, and little more. */
void {prefix}_act(const {source.input_type} *observation, {source.action_type} *action);

/* The same, with working memory that the caller gives: one for each thread or interrupt level that calls. */
void {prefix}_act_in({prefix}_scratch *scratch, const {source.input_type} *observation, {source.action_type} *action);

#ifdef __cplusplus
}}
#endif

#endif
"""


def _source(source: Source, integers: Source | None, prefix: str) -> str:
    if integers is None:
        definitions = f"{_joined(source.data, source.data)}\n{_act_in(source, prefix)}"
    else:
        shared = [name for name in source.data if name in integers.data]
        only = [_joined(each.data, [name for name in each.data if name not in shared]) for each in (integers, source)]
        bodies = _act_in(integers, prefix), _act_in(source, prefix)
        definitions = (
            f"{_joined(source.data, shared)}\n#if LILLIPUT_INTEGERS\n\n{only[0]}\n{bodies[0]}\n"
            f"#else\n\n{only[1]}\n{bodies[1]}\n#endif\n"
        )
    return f"""\
/* A trained policy as data and a plain sequence of calls; the kernels are in policy_kernels.h. */
#include "policy.h"
#include "policy_kernels.h"

{definitions}
void {prefix}_act(const {source.input_type} *observation, {source.action_type} *action)
{{
    ALIGNED {prefix}_scratch scratch;
    {prefix}_act_in(&scratch, observation, action);
}}
"""


def _joined(data: dict[str, str], names: Iterable[str]) -> str:
    return "\n".join(data[name] for name in names)


def _act_in(source: Source, prefix: str) -> str:
    unread = [name for name in ("scratch", "observation") if name not in source.body]
    unused = "".join(f"    (void){name};\n" for name in unread)
    return f"""\
void {prefix}_act_in({prefix}_scratch *scratch, const {source.input_type} *observation, {source.action_type} *action)
{{
{unused}{source.body}}}
"""


def _selftest(
    source: Source, sizes: _Sizes, observations: np.ndarray, actions: np.ndarray, tolerance: float, prefix: str
) -> str:
    n = max(1, min(len(observations), MAX_SELFTEST_NUMBERS // sizes.observation))
    inputs = np.ascontiguousarray(observations[:n], np.uint8 if source.input_type == "uint8_t" else np.float32)
    outputs = np.ascontiguousarray(actions[:n], np.int32 if source.action_type == "int32_t" else np.float32)

    def table(name: str, values: np.ndarray, size: int) -> str:
        lines = "\n".join("    {" + ",\n     ".join(rows(row)) + "}," for row in values.reshape(n, -1))
        return f"static const {c_type(values.dtype)} {name}[{n}][{size}] = {{\n{lines}\n}};\n"

    return f"""\
/* Decides {n} golden observations and compares with the reference's actions: prints the largest difference,
   returns 0 where it is at most the tolerance. */
#if !defined(ARDUINO) /* a sketch has its own main */
#include <stdio.h>
#include "policy.h"

#define EXAMPLES {n}
#define SIZE {sizes.action}

{table("observations", inputs, sizes.observation)}
{table("actions", outputs, sizes.action)}
int main(void)
{{
    const double tolerance = {tolerance!r};
    double largest = 0.0;
    int example, i, wrong = 0;
    for (example = 0; example < EXAMPLES; example++) {{
        {source.action_type} action[SIZE];
        {prefix}_act(observations[example], action);
        for (i = 0; i < SIZE; i++) {{
            double difference = (double)action[i] - (double)actions[example][i];
            difference = difference < 0.0 ? -difference : difference;
            largest = difference > largest ? difference : largest;
            wrong += !(difference <= tolerance); /* NaN is wrong too */
        }}
    }}
    printf("%s: largest difference %g, allowed %g, in %d examples\\n", wrong ? "FAILED" : "passed", largest, tolerance,
           EXAMPLES);
    return wrong != 0;
}}
#endif
"""


def _sentence(policy: Policy) -> str:
    return f"A trained policy: {spaces.describe(policy.observation_space)} -> {spaces.describe(policy.action_space)}"


def _arduino(policy: Policy, prefix: str) -> str:
    return f"""\
name=Lilliput_{prefix}
version=1.0.0
author=Lilliput
maintainer=Lilliput
sentence={_sentence(policy)}
paragraph={policy.n_parameters} parameters, {policy.model_bytes} bytes of constants; policy {policy.digest[:16]}.
category=Data Processing
url=https://pypi.org/project/lilliput/
architectures=*
includes=policy.h
"""


def _platformio(policy: Policy, prefix: str) -> str:
    about = {
        "name": f"Lilliput_{prefix}",
        "version": "1.0.0",
        "description": _sentence(policy),
        "frameworks": "*",
        "platforms": "*",
        "headers": "policy.h",
        # The self-test has a main of its own.
        "build": {"srcDir": ".", "srcFilter": ["-<*>", "+<policy.c>"], "flags": ["-ffp-contract=off"]},
    }
    return json.dumps(about, indent=2) + "\n"


_KERNELS_HEADER = """\
/* The kernels that this policy calls. Each is chosen for the processor that the compiler is told to build for. */
#ifndef POLICY_KERNELS_H
#define POLICY_KERNELS_H

"""

_MAKEFILE = f"""\
# make          policy.o, for this machine or with CC=arm-none-eabi-gcc CFLAGS='-mcpu=cortex-m4 ... -O2' another
# make test     decides the golden examples
CC     ?= cc
CFLAGS ?= {_C_FLAGS}

policy.o: policy.c policy.h policy_kernels.h
	$(CC) $(CFLAGS) -c policy.c -o $@

selftest: selftest.c policy.o policy.h
	$(CC) $(CFLAGS) selftest.c policy.o -lm -o $@

.PHONY: test clean
test: selftest
	./selftest

clean:
	rm -f policy.o selftest
"""


def _readme(policy: Policy, source: Source, integers: Source | None, sizes: _Sizes, prefix: str) -> str:
    working = f"{source.scratch_bytes} bytes"
    if integers is not None:
        working += f"; with integers between the layers at most {integers.scratch_bytes}"
    made = f"Made by the recipe `{policy.provenance.recipe}`.\n" if policy.provenance.recipe else ""
    return f"""\
# A policy in C

{spaces.describe(policy.observation_space)} -> {spaces.describe(policy.action_space)}
{made}
```c
#include "policy.h"

{source.input_type} observation[{prefix.upper()}_OBSERVATION_SIZE] = {{ ... }};
{source.action_type} action[{prefix.upper()}_ACTION_SIZE];
{prefix}_act(observation, action);
```

The observation is the environment's, as it is; the action is what the environment takes. No allocation, no state, no
dependency beyond the C library's math functions. C99, and valid C++.

| | |
|---|---|
| constants (flash) | {policy.model_bytes} bytes |
| working memory (stack, or the caller's by `{prefix}_act_in`) | {working} |
| parameters | {policy.n_parameters}, {policy.n_nonzero_parameters} of them not zero |
| multiply-accumulates a decision | {policy.n_macs} |

`make test` decides the golden examples and prints the largest difference. Compile with `{_C_FLAGS}`, never with
`-ffast-math`; `-O3 -march=native` (or the target's `-mcpu=`) chooses the kernels for the processor. The folder is an
Arduino and a PlatformIO library as it stands: copy it into `libraries/` or `lib/`.
"""
