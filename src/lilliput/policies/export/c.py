"""The C format: a policy as one C99 header and source with constant data, a self-test, a Makefile and a README."""

import itertools
import math
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from lilliput.foreign_text import in_c_comment
from lilliput.policies import layers, spaces
from lilliput.policies.artifact import DEFAULT_NAME, check_name
from lilliput.policies.export import c_about, c_kernels, c_stack
from lilliput.policies.export.c_fixed import generate_fixed
from lilliput.policies.export.c_linear import BLOCK_ROWS
from lilliput.policies.export.c_selftest import selftest
from lilliput.policies.export.c_source import CSource, generate
from lilliput.policies.export.c_writer import DECODED
from lilliput.policies.fixed_point import ACTION_BITS, FixedPoint
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

    Raises:
        LilliputError: a name that is none of C, or a policy that the C format cannot hold.
    """
    check_name(name)
    source, integers = generate(policy) if units is None else (generate_fixed(policy, units), None)
    sizes = _Sizes(policy)
    texts = {
        f"{name}.h": _header(policy, source, integers, sizes, name),
        f"{name}.c": _source(policy, source, integers, name),
        f"{name}_kernels.h": _kernels_header(_called(source, integers), name),
        f"{name}_selftest.c": selftest(source, name, observations, actions, tolerance),
        "Makefile": c_about.makefile(name),
        "README.md": c_about.readme(policy, source, _working(source, integers), _stack(policy, source, integers), name),
        "library.properties": c_about.arduino(policy, name),
        "library.json": c_about.platformio(policy, name),
    }
    for file, text in texts.items():
        (folder / file).write_text(text, encoding="utf-8")


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


def _scratch_fields(source: CSource) -> str:
    fields = source.scratch
    if all(name in DECODED for _, name, _ in fields):  # a struct has a field
        fields = (*fields, ("float", "a", 1))
    lines = []
    for condition, group in itertools.groupby(fields, lambda field: _only_where(field[1])):
        declared = [f"    {kind} {name}[{length}];" for kind, name, length in group]
        lines += [f"#if {condition}", *declared, "#endif"] if condition else declared
    return "\n".join(lines)


def _only_where(name: str) -> str:
    """The processors that have this working memory; empty where all do."""
    if name in DECODED:
        return "!LILLIPUT_SOFT_FLOATS"
    return "defined(__ARM_FEATURE_DSP)" if name == "pairs" else ""


MAX_16_BITS = 65535
AVR_NEAR_FLASH = 60_000
"""Bytes of constants at most on an AVR: what lies beyond 64 KB needs longer pointers, and others want some too."""
LARGE_TABLES = 0.5
"""Tables larger than this share of the constants cost a processor with a float unit more flash than they are worth."""

_INTEGERS = """\
/* 1: integers between the layers that are quantized, for processors without {units}. 0: floats. Their actions
   are the same, but where a number lies within a rounding error of the middle between two codes. */
#if defined(LILLIPUT_INTEGERS)
#define {upper}_INTEGERS LILLIPUT_INTEGERS
#elif defined(__SSE2__) || defined(__ARM_NEON) || defined(__wasm_simd128__) || defined(_M_X64){also}
#define {upper}_INTEGERS 0
#else
#define {upper}_INTEGERS 1
#endif

"""
_OR_FLOAT_UNIT = " \\\n    || defined(__ARM_FP) || defined(__riscv_flen)"

_SOFT_FLOATS = """\
/* Without a float unit small constants are decoded where they stand, which takes no working memory. */
#if !defined(LILLIPUT_SOFT_FLOATS)
#if (defined(__arm__) && !defined(__ARM_FP)) || (defined(__riscv) && !defined(__riscv_flen)) || defined(__AVR__) \\
    || defined(__MSP430__)
#define LILLIPUT_SOFT_FLOATS 1
#else
#define LILLIPUT_SOFT_FLOATS 0
#endif
#endif

"""


def _integers(policy: Policy, integers: CSource, upper: str) -> str:
    if not _has_large_tables(policy, integers):
        return _INTEGERS.format(upper=upper, units="vectors of floats", also="")
    return _INTEGERS.format(upper=upper, units="a float unit", also=_OR_FLOAT_UNIT)


def _header(policy: Policy, source: CSource, integers: CSource | None, sizes: _Sizes, name: str) -> str:
    stack = _stack(policy, source, integers)
    upper, guard = name.upper(), f"LILLIPUT_{name}_{policy.digest[:8]}_H"
    fields = _scratch_fields(source)
    if integers is not None:
        fields = f"#if {upper}_INTEGERS\n{_scratch_fields(integers)}\n#else\n{fields}\n#endif"
    choice = "" if not policy.is_discrete else " Each number of the action is a choice, counted from 0."
    recipe = f", {in_c_comment(policy.provenance.recipe)}" if policy.provenance.recipe else ""
    spoken = in_c_comment(f"{spaces.describe(policy.observation_space)} -> {spaces.describe(policy.action_space)}")
    about = _of_floats(policy, source) if source.units is None else _of_integers(policy, source.units, sizes)
    state, act_in = _state_argument(source, name), _act_in_declared(source, name)
    return f"""\
/* {spoken}
   {policy.n_parameters} parameters, {policy.n_macs} multiply-accumulates a decision,
   {_constant_bytes(policy, source)} bytes of constants. Policy {policy.digest[:16]}{recipe} */
#ifndef {guard}
#define {guard}

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

#define {upper}_OBSERVATION_SIZE {sizes.observation}
#define {upper}_ACTION_SIZE {sizes.action}

{"" if integers is None else _integers(policy, integers, upper)}\
{_SOFT_FLOATS if "LILLIPUT_SOFT_FLOATS" in fields else ""}\
/* Working memory of one decision: {_working(source, integers)}. Nothing in it need be kept or cleared. */
typedef struct {{
{fields}
}} {name}_scratch;

{_state_type(source, name)}\
/* Writes the environment's action for one raw observation, flattened row by row; everything between the two, such as
   normalization and clipping, is inside.{choice} The two arrays may not overlap.
{about}   Takes at most {_words_of_stack(stack)}. */
int {name}_act({state}const {source.input_type} *observation, {source.action_type} *action);

/* The same, with working memory that the caller gives: one for each thread or interrupt level that calls. */
{act_in};

/* In {name}_selftest.c: decides the golden observations, and returns how many numbers came out wrong. */
int {name}_selftest(void);

#ifdef __cplusplus
}}
#endif

#endif
"""


def _of_floats(policy: Policy, source: CSource) -> str:
    """What the header says of numbers that are floats."""
    undecided = "every choice is 0" if policy.is_discrete else "every number of the action is NaN"
    unmoved = ", and the state stays as it was" if source.state else ""
    return f"   Returns 0; or 1 where a number that the policy reads is NaN or infinite: then {undecided}{unmoved}.\n"


def _of_integers(policy: Policy, units: FixedPoint, sizes: "_Sizes") -> str:
    """What the header says of numbers that are integers."""
    if len(set(units.fraction_bits)) == 1:
        bits = units.fraction_bits[0]
        scale = f"every number of the observation counts in units of {_unit(bits)}: {_converted('x', bits)}"
    else:
        lines = [
            f"\n     {index}: {_unit(bits)}, {_converted('x', bits)}" for index, bits in enumerate(units.fraction_bits)
        ]
        scale = f"the numbers of the observation count in units of{''.join(lines)}"
    action = "" if policy.is_discrete else f"\n   A number of the action counts in units of {_unit(ACTION_BITS)}."
    return f"""\
   There is no float in it: {scale};
   what does not fit {8 * units.dtype.itemsize} bits is to be saturated.{action}
   Returns 0.
"""


def _unit(bits: int) -> str:
    return f"1 / {1 << bits}" if bits > 0 else str(1 << -bits)


def _converted(of: str, bits: int) -> str:
    """A real number in units of 2^-bits."""
    return f"{of} is {1 << bits} {of}" if bits > 0 else f"{of} is {of} / {1 << -bits}"


def _constant_bytes(policy: Policy, source: CSource) -> int:
    """Bytes of flash that the constants take."""
    return policy.model_bytes if source.units is None else source.constant_bytes


def _state_argument(source: CSource, name: str) -> str:
    return f"{name}_state *state, " if source.state else ""


def _act_in_declared(source: CSource, name: str) -> str:
    given = f"const {source.input_type} *observation, {source.action_type} *action)"
    if not source.state:
        return f"int {name}_act_in({name}_scratch *scratch, {given}"
    start = f"int {name}_act_in("
    return f"{start}{name}_state *state, {name}_scratch *scratch,\n{' ' * len(start)}{given}"


def _state_type(source: CSource, name: str) -> str:
    """The struct of what is remembered, and the function that begins an episode; nothing without a memory."""
    if not source.state:
        return ""
    fields = "\n".join(f"    float {array}[{length}];" for array, length in source.state.items())
    return f"""\
/* What the policy remembers of an episode, {4 * sum(source.state.values())} bytes: one for each that acts. */
typedef struct {{
{fields}
}} {name}_state;

/* Begins an episode: call it before the first decision, and wherever what was before shall be forgotten. */
void {name}_reset({name}_state *state);

"""


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
int {name}_act({_state_argument(source, name)}const {source.input_type} *observation, {source.action_type} *action)
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


def _stack(policy: Policy, source: CSource, integers: CSource | None) -> tuple[int, int]:
    """Bytes of stack that a call takes at most on microcontrollers without and with a float unit."""
    if source.units is not None:
        one_by_one = not any(kernel.startswith(("dense_to", "packed_to")) for kernel in source.kernels)
        bound = source.scratch_bytes(has_floats=True) + c_stack.between_integers(policy, one_by_one=one_by_one)
        return bound, bound
    without = source if integers is None else integers
    with_one = source if integers is None or _has_large_tables(policy, integers) else integers
    return (
        without.scratch_bytes(has_floats=False) + c_stack.without_a_float_unit(policy),
        with_one.scratch_bytes(has_floats=True) + c_stack.with_a_float_unit(policy),
    )


def _words_of_stack(stack: tuple[int, int]) -> str:
    return f"{stack[0]} bytes of stack, with the working memory, without a float unit, {stack[1]} with one"


def _has_large_tables(policy: Policy, integers: CSource) -> bool:
    """Whether a float unit is left to do without integers, unless the compiler is told otherwise."""
    return integers.table_bytes > LARGE_TABLES * policy.model_bytes


def _joined(data: dict[str, str], names: Iterable[str]) -> str:
    return "\n".join(data[name] for name in names)


def _act_in(source: CSource, name: str) -> str:
    unread = [name for name in ("scratch", "observation") if name not in source.body]
    unused = "".join(f"    (void){name};\n" for name in unread)
    return f"""\
ALONE {_act_in_declared(source, name)}
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


def _working(source: CSource, integers: CSource | None) -> str:
    words = _bytes_of(source)
    return words if integers is None else f"{_bytes_of(integers)} with integers, else {words}"


def _bytes_of(source: CSource) -> str:
    least, most = (source.scratch_bytes(has_floats=has_floats) for has_floats in (False, True))
    return f"{most} bytes" if least == most else f"{least} bytes without a float unit, {most} with one"
