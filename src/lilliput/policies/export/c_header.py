"""The header of a policy's C: its sizes, its working memory, what it remembers, and the functions that are called."""

import itertools
import math
import textwrap

from lilliput.foreign_text import in_c_comment
from lilliput.policies import readings, spaces
from lilliput.policies.export import c_stack
from lilliput.policies.export.c_source import CSource
from lilliput.policies.export.c_writer import DECODED, ONLY_X86
from lilliput.policies.fixed_point import ACTION_BITS, FixedPoint
from lilliput.policies.policy import Policy, layer_shapes

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


def _between(policy: Policy) -> str:
    """A line of what the caller does as the environment's side did."""
    worn = ", ".join(policy.provenance.wrappers)
    return f"\n   Between the environment and it stand: {in_c_comment(worn)}" if worn else ""


def header(policy: Policy, source: CSource, integers: CSource | None, name: str, also: str = "") -> str:
    """The text of <name>.h; `integers` is the policy between integers, where some processors are better off so.

    `also` are declarations of what a library has beside it.
    """
    stack = c_stack.most(policy, source, integers)
    upper, guard = name.upper(), f"LILLIPUT_{name}_{policy.digest[:8]}_H"
    fields = _scratch_fields(source)
    if integers is not None:
        fields = f"#if {upper}_INTEGERS\n{_scratch_fields(integers)}\n#else\n{fields}\n#endif"
    choice = "" if not policy.is_discrete else " Each number of the action is a choice, counted from 0."
    recipe = f", {in_c_comment(policy.provenance.recipe)}" if policy.provenance.recipe else ""
    spoken = in_c_comment(f"{spaces.describe(policy.observation_space)} -> {spaces.describe(policy.action_space)}")
    about = _of_floats(policy, source) if source.units is None else _of_integers(policy, source.units)
    act_in = act_in_declared(source, name)
    return f"""\
/* {spoken}
   {policy.n_parameters} parameters, {policy.n_macs} multiply-accumulates a decision,
   {_constant_bytes(policy, source)} bytes of constants. Policy {policy.digest[:16]}{recipe}{_between(policy)} */
{_named(policy)}\
#ifndef {guard}
#define {guard}

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

#define {upper}_OBSERVATION_SIZE {math.prod(layer_shapes(policy)[0])}
#define {upper}_ACTION_SIZE {_n_actions(policy)}

{"" if integers is None else _integers(policy, integers, upper)}\
{_SOFT_FLOATS if "LILLIPUT_SOFT_FLOATS" in fields else ""}\
/* Working memory of one decision: {working_memory(source, integers)}. Nothing in it need be kept or cleared. */
typedef struct {{
{fields}
}} {name}_scratch;

{_state_type(source, name)}\
/* Writes the environment's action for one raw observation, flattened row by row; everything between the two, such as
   normalization and clipping, is inside.{choice} The two arrays may not overlap.
{about}   Takes at most {_words_of_stack(stack)}. */
int {name}_act({act_parameters(source, name)});

/* The same, with working memory that the caller gives: one for each thread or interrupt level that calls. */
{act_in};

{also}/* In {name}_selftest.c: decides the golden observations, and returns how many numbers came out wrong. */
int {name}_selftest(void);

#ifdef __cplusplus
}}
#endif

#endif
"""


def _named(policy: Policy) -> str:
    """A comment on what the policy's source calls the numbers of the observation and the action; empty: nothing."""
    spans, actions = readings.names(policy)
    lines = [f"observation {first} to {last}: {called}" for first, last, called in spans]
    lines += [f"action: {', '.join(actions)}"] if actions else []
    if not lines:
        return ""
    wrapped = [row for line in lines for row in textwrap.wrap(in_c_comment(line), 110, subsequent_indent="  ")]
    return (
        "\n".join(["/* What the numbers are called where the policy is from:", *(f"     {row}" for row in wrapped)])
        + " */\n"
    )


def _n_actions(policy: Policy) -> int:
    """How many numbers an action is."""
    match policy.action_space:
        case spaces.Box(size=size):
            return size
        case spaces.Discrete():
            return 1
        case spaces.MultiDiscrete(sizes=groups):
            return len(groups)


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
    if name in ONLY_X86:
        return "defined(__SSE2__)"
    return "defined(__ARM_FEATURE_DSP)" if name == "pairs" else ""


def _integers(policy: Policy, integers: CSource, upper: str) -> str:
    if not c_stack.has_large_tables(policy, integers):
        return _INTEGERS.format(upper=upper, units="vectors of floats", also="")
    return _INTEGERS.format(upper=upper, units="a float unit", also=_OR_FLOAT_UNIT)


def _words_of_stack(stack: tuple[int, int]) -> str:
    return f"{stack[0]} bytes of stack, with the working memory, without a float unit, {stack[1]} with one"


def _of_floats(policy: Policy, source: CSource) -> str:
    """What the header says of numbers that are floats."""
    undecided = "every choice is 0" if policy.is_discrete else "every number of the action is NaN"
    unmoved = ", and the state stays as it was" if source.state else ""
    return f"   Returns 0; or 1 where a number that the policy reads is NaN or infinite: then {undecided}{unmoved}.\n"


def _of_integers(policy: Policy, units: FixedPoint) -> str:
    """What the header says of numbers that are integers."""
    if len(set(units.fraction_bits)) == 1:
        bits = units.fraction_bits[0]
        scale = f"every number of the observation counts in units of {_unit(bits)}: {_converted(bits)}"
    else:
        lines = [f"\n     {index}: {_unit(bits)}, {_converted(bits)}" for index, bits in enumerate(units.fraction_bits)]
        scale = f"the numbers of the observation count in units of{''.join(lines)}"
    action = "" if policy.is_discrete else f"\n   A number of the action counts in units of {_unit(ACTION_BITS)}."
    return f"""\
   There is no float in it: {scale};
   what does not fit {8 * units.dtype.itemsize} bits is to be saturated.{action}
   Returns 0.
"""


def _unit(bits: int) -> str:
    return f"1 / {1 << bits}" if bits > 0 else str(1 << -bits)


def _converted(bits: int) -> str:
    """A real number in units of 2^-bits."""
    return f"x is {1 << bits} x" if bits > 0 else f"x is x / {1 << -bits}"


def _constant_bytes(policy: Policy, source: CSource) -> int:
    """Bytes of flash that the constants take."""
    return policy.model_bytes if source.units is None else source.constant_bytes


def state_argument(source: CSource, name: str) -> str:
    """The first argument of a call: what is remembered; empty without a memory."""
    return f"{name}_state *state, " if source.state else ""


def act_parameters(source: CSource, name: str) -> str:
    """What a call is given."""
    return f"{state_argument(source, name)}const {source.input_type} *observation, {source.action_type} *action"


def act_in_parameters(source: CSource, name: str) -> str:
    """What a call is given that brings its working memory."""
    state = state_argument(source, name)
    return f"{state}{name}_scratch *scratch, {act_parameters(source, name)[len(state) :]}"


def act_in_declared(source: CSource, name: str) -> str:
    """The function that is given its working memory, as it is declared."""
    if not source.state:
        return f"int {name}_act_in({act_in_parameters(source, name)})"
    given = f"const {source.input_type} *observation, {source.action_type} *action)"
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


def working_memory(source: CSource, integers: CSource | None) -> str:
    """How large the working memory of one decision is, in words."""
    words = _bytes_of(source)
    return words if integers is None else f"{_bytes_of(integers)} with integers, else {words}"


def _bytes_of(source: CSource) -> str:
    least, most = (source.scratch_bytes(has_floats=has_floats) for has_floats in (False, True))
    stated = f"{most} bytes" if least == most else f"{least} bytes without a float unit, {most} with one"
    return f"{stated}, {source.x86_bytes} more on x86" if source.x86_bytes else stated
