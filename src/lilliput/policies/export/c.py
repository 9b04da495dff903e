"""The C format: a policy as one C99 header and source with constant data, a self-test, a Makefile and a README."""

import math
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from lilliput.policies import layers
from lilliput.policies.artifact import DEFAULT_NAME, check_name
from lilliput.policies.export import c_about, c_dispatch, c_kernels, c_stack
from lilliput.policies.export.c_fixed import generate_fixed
from lilliput.policies.export.c_header import act_in_declared, act_parameters, header, working_memory
from lilliput.policies.export.c_linear import BLOCK_ROWS
from lilliput.policies.export.c_selftest import selftest
from lilliput.policies.export.c_source import CSource, generate
from lilliput.policies.fixed_point import FixedPoint
from lilliput.policies.policy import Policy, layer_shapes


def write(
    policy: Policy,
    folder: Path,
    observations: np.ndarray,
    actions: np.ndarray,
    tolerance: float,
    *,
    name: str = DEFAULT_NAME,
    units: FixedPoint | None = None,
    dispatch: bool = False,
) -> None:
    """Write <name>.h, <name>.c, <name>_kernels.h, <name>_selftest.c and what builds and describes them.

    Args:
        policy: the policy.
        folder: where to.
        observations: golden examples, (n, *input shape).
        actions: the reference's actions for them, batch first.
        tolerance: how far an action may be off; 0 for choices.
        name: what the names of C, and of the files, start with.
        units: of observations and actions that are integers; None: they are floats.
        dispatch: for a shared library that chooses its kernels where it runs, instead of for a microcontroller.

    Raises:
        LilliputError: a name that is none of C, or a policy that the C format cannot hold.
    """
    check_name(name)
    source, integers = generate(policy) if units is None else (generate_fixed(policy, units), None)
    declared, before, use = "", "", c_about.use(name)
    if dispatch:
        declared, before, use = c_dispatch.declared(name), c_dispatch.renamed(source, name), c_dispatch.use(name)
        source, integers = c_dispatch.sharing(source, name), integers and c_dispatch.sharing(integers, name)
    texts = {
        f"{name}.h": header(policy, source, integers, name, declared),
        f"{name}.c": before + _source(policy, source, integers, name),
        f"{name}_kernels.h": _kernels_header(_called(source, integers), name),
        f"{name}_selftest.c": selftest(source, name, observations, actions, tolerance),
        "README.md": c_about.readme(
            policy, source, working_memory(source, integers), c_stack.most(policy, source, integers), name, use
        ),
    }
    if dispatch:
        texts |= {"Makefile": c_dispatch.makefile(name), f"{name}_dispatch.c": c_dispatch.chooser(source, name)}
    else:
        texts |= {
            "Makefile": c_about.makefile(name),
            "library.properties": c_about.arduino(policy, name),
            "library.json": c_about.platformio(policy, name),
        }
    for file, text in texts.items():
        (folder / file).write_text(text, encoding="utf-8")


MAX_16_BITS = 65535
AVR_NEAR_FLASH = 60_000
"""Bytes of constants at most on an AVR: what lies beyond 64 KB needs longer pointers, and others want some too."""


def _reset(source: CSource, name: str) -> str:
    if not source.state:
        return ""
    lines = "".join(f"    {line}\n" for line in source.reset)
    return f"\nvoid {name}_reset({name}_state *state)\n{{\n{lines}}}\n"


def _source(policy: Policy, source: CSource, integers: CSource | None, name: str) -> str:
    if integers is None:
        definitions = f"{_joined(source.data, source.data)}\n{_act_in(source, name)}"
    else:
        shared = [name for name in source.data if name in integers.data]
        only = [_joined(each.data, [name for name in each.data if name not in shared]) for each in (integers, source)]
        bodies = _act_in(integers, name), _act_in(source, name)
        definitions = (
            f"{_joined(source.data, shared)}\n#if {name.upper()}_INTEGERS\n\n{only[0]}\n{bodies[0]}\n"
            f"#else\n\n{only[1]}\n{bodies[1]}\n#endif\n"
        )
    return f"""\
/* A trained policy as data and a plain sequence of calls; the kernels are in policy_kernels.h. */
#include "{name}.h"
{_limits(policy, source, integers, name)}#include "{name}_kernels.h"

{definitions}
int {name}_act({act_parameters(source, name)})
{{
    ALIGNED {name}_scratch scratch;
    return {name}_act_in({"state, " if source.state else ""}&scratch, observation, action);
}}
{_reset(source, name)}\
"""


def _limits(policy: Policy, source: CSource, integers: CSource | None, name: str) -> str:
    """What the kernels have to know of the policy, and where there is no room for it."""
    linear = [part.weight.shape for layer in policy.layers for part in layers.linear_parts(layer)]
    most_rows = min(max(shape[0] for shape in linear), BLOCK_ROWS)
    largest = max(*map(math.prod, linear), *map(math.prod, layer_shapes(policy)))
    sizes = ""
    if largest > MAX_16_BITS:
        sizes = f'#if SIZE_MAX < {largest}\n#error "this policy is too large for sizes of 16 bits"\n#endif\n'
    both = [each for each in (source, integers) if each is not None]
    between_integers = """\
#undef LILLIPUT_INTEGERS
#define LILLIPUT_INTEGERS 1
"""
    chosen = f"""\
#if !defined(LILLIPUT_INTEGERS)
#define LILLIPUT_INTEGERS {name.upper()}_INTEGERS
#endif
"""
    in_memory = """\
#define CONSTANTS_IN_MEMORY 1 /* on an AVR: kernels here read what was decoded and what was stored */
"""
    room = f"""\
#if defined(__AVR__)
#include <avr/io.h>
#if defined(__FLASH) && !defined(CONSTANTS_IN_MEMORY)
#if {policy.model_bytes} > {AVR_NEAR_FLASH} || {policy.model_bytes} > FLASHEND
#error "the constants do not fit this processor's flash, or not the 64 KB of it that are read as data"
#endif
#elif {policy.model_bytes} > RAMEND - RAMSTART
#error "the constants do not fit this processor's memory; compiled as C they stand in flash where they can"
#endif
#endif
"""
    return "".join(
        [
            chosen if integers is not None else between_integers if source.units is not None else "",
            f"#define MOST_ROWS {most_rows}\n",
            "#define STORES_HALVES 1\n" if any(each.stores_halves for each in both) else "",
            in_memory if any(each.mixes_memories for each in both) else "",
            sizes,
            room,
        ]
    )


def _joined(data: dict[str, str], names: Iterable[str]) -> str:
    return "\n".join(data[name] for name in names)


def _act_in(source: CSource, name: str) -> str:
    unread = [name for name in ("scratch", "observation") if name not in source.body]
    unused = "".join(f"    (void){name};\n" for name in unread)
    return f"""\
ALONE {act_in_declared(source, name)}
{{
{unused}{source.body}    return 0;
}}
"""


def kernels(policy: Policy) -> list[str]:
    """The kernels that the policy's C calls, as its header has them; each brings what it includes."""
    return _called(*generate(policy))


def shape(policy: Policy) -> str:
    """What decides on the code that compilers make of the policy's C: all but its numbers.

    Policies that differ in numbers alone have one shape, and take the same flash and stack to a few bytes.

    Raises:
        LilliputError: the C format cannot hold the policy.
    """
    texts: list[str] = []
    for source in generate(policy):
        if source is not None:
            texts += [definition.partition(" = {")[0] for definition in source.data.values()]
            texts += [line if "/*" in line else _NUMBER.sub("#", line) for line in source.body.splitlines()]
            texts += [f"{kind} {name}[{length}]" for kind, name, length in source.scratch]
    return "\n".join(texts)


_NUMBER = re.compile(r"(?<![\w.])[0-9][\w.]*")


def _called(source: CSource, integers: CSource | None) -> list[str]:
    return sorted(source.kernels | (integers.kernels if integers else frozenset()))


def _kernels_header(kernels: Iterable[str], name: str) -> str:
    return f"""\
/* The kernels that this policy calls. Each is chosen for the processor that the compiler is told to build for. */
#ifndef LILLIPUT_{name}_KERNELS_H
#define LILLIPUT_{name}_KERNELS_H

{c_kernels.bundle(kernels)}#endif
"""
