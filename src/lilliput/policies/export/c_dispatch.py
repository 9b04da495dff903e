"""A shared library that carries one policy's kernels for several processors, and chooses among them where it runs.

The policy's C is compiled once for each set, as it is, with other flags and other names; large constants are shared.
"""

import re
from dataclasses import dataclass, replace
from typing import final

from lilliput.policies.export.c_header import act_in_declared, act_in_parameters, act_parameters
from lilliput.policies.export.c_source import CSource


@final
@dataclass(frozen=True)
class KernelSet:
    """The kernels for processors that have certain instructions.

    Attributes:
        name: of the set; part of a C name.
        flags: with which a compiler writes those instructions.
        condition: a C expression that tells whether this processor has them, and the system lets them be used.
    """

    name: str
    flags: str
    condition: str


def _x86(name: str, features: tuple[str, ...], beside: str = "", also: str = "") -> KernelSet:
    """A set by the features that compilers name alike in flags and in __builtin_cpu_supports."""
    tests = [f'__builtin_cpu_supports("{feature}")' for feature in features]
    flags = " ".join([*(f"-m{feature}" for feature in features), *([beside] if beside else [])])
    return KernelSet(name, flags, " && ".join([*tests, *([also] if also else [])]))


_SSE4 = ("ssse3", "sse4.1", "sse4.2", "popcnt")
_AVX2 = (*_SSE4, "avx2", "fma", "bmi", "bmi2")
_AVX512 = (*_AVX2, "avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl")

X86 = (
    _x86("avx512vnni", (*_AVX512, "avx512vnni", "avx512vbmi", "avx512vbmi2")),
    _x86("avx512", _AVX512),
    _x86("avxvnni", _AVX2, beside="-mavxvnni", also="has_avxvnni()"),
    _x86("avx2", _AVX2),
    _x86("sse4", _SSE4),
    KernelSet("base", "", ""),
)
"""Sets for x86-64, the best first: of Ice Lake and Zen 4, of Skylake's servers, of Alder Lake and later clients, of
Haswell and Zen, of Atom and Nehalem, and of all."""
ARM = (
    KernelSet(
        "i8mm",
        "-march=armv8.2-a+dotprod+i8mm",
        "(getauxval(AT_HWCAP) & HWCAP_ASIMDDP) && (getauxval(AT_HWCAP2) & HWCAP2_I8MM)",
    ),
    KernelSet("dotprod", "-march=armv8.2-a+dotprod", "getauxval(AT_HWCAP) & HWCAP_ASIMDDP"),
    KernelSet("base", "", ""),
)
"""Sets for 64-bit Arm: of Cortex-A510, A710 and later, of A55, A75 and later (Raspberry Pi 5, Jetson Orin), and of
all (Raspberry Pi 3 and 4)."""

_DEFINITION = re.compile(r"(?:ALIGNED )?static const FLASH (\w+) (\w+)(\[\d*\]) = \{")
_LARGE = 4096
"""Characters of a definition that each set does not have to itself; compilers compute with the small ones."""


def renamed(source: CSource, name: str) -> str:
    """What <name>.c begins with: in a set of kernels its functions have names of their own."""
    upper = name.upper()
    functions = [f"{name}_act", f"{name}_act_in", *([f"{name}_reset"] if source.state else [])]
    lines = "".join(f"#define {function} {upper}_IN_SET({function}, {upper}_KERNELS)\n" for function in functions)
    return f"""\
#if defined({upper}_KERNELS) /* one of the sets of kernels of lib{name}.so: see {name}_dispatch.c */
#define {upper}_JOINED(function, kernels) function##_##kernels
#define {upper}_IN_SET(function, kernels) {upper}_JOINED(function, kernels)
{lines}#endif
"""


def sharing(source: CSource, name: str) -> CSource:
    """The same, with large constants that all sets of a library read in one place."""
    return replace(source, data={array: _shared(text, name) for array, text in source.data.items()})


def _shared(definition: str, name: str) -> str:
    found = _DEFINITION.match(definition)
    if found is None or len(definition) < _LARGE:
        return definition
    kind, array, length = found.groups()
    declared = f'__attribute__((aligned(64), visibility("hidden"))) const {kind} {array}{length}'
    return f"""\
#define {array} {name}_{array}
extern {declared};
#if !defined({name.upper()}_KERNELS) || defined({name.upper()}_CONSTANTS)
{declared} = {{{definition[found.end() :]}#endif
"""


def declared(name: str) -> str:
    """What <name>.h says of the choice."""
    return f"""\
/* In lib{name}.so: the kernels that it chose for this processor, of {", ".join(_names(X86))} on x86-64,
   {", ".join(_names(ARM))} on 64-bit Arm. */
const char *{name}_kernel_set(void);

"""


def chooser(source: CSource, name: str) -> str:
    """The text of <name>_dispatch.c."""
    of_x86, of_arm = (_choice(sets) for sets in (X86, ARM))
    state, given = ("state, ", f"{name}_state *state") if source.state else ("", "")
    reset = ""
    if source.state:
        reset = f"\nvoid {name}_reset({given})\n{{\n    {name}_reset_base(state);\n}}\n"
    reset_declared = f"void {name}_reset_base({given});\n" if source.state else ""
    act, act_in = f"int {name}_act({act_parameters(source, name)})", act_in_declared(source, name)
    return f"""\
/* lib{name}.so: the policy with kernels for several processors, chosen where it runs. {name}.c is compiled once for
   each set, with the flags that stand in the Makefile. */
#include "{name}.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#if !defined(HWCAP_ASIMDDP)
#define HWCAP_ASIMDDP (1UL << 20)
#endif
#if !defined(HWCAP2_I8MM)
#define HWCAP2_I8MM (1UL << 13)
#endif
#endif

typedef struct {{
    const char *name;
    int (*act)({act_parameters(source, name)});
    int (*act_in)({act_in_parameters(source, name)});
}} kernel_set;

#define SET(kernels) \\
    int {name}_act_##kernels({act_parameters(source, name)}); \\
    int {name}_act_in_##kernels({act_in_parameters(source, name)}); \\
    static const kernel_set of_##kernels = {{#kernels, {name}_act_##kernels, {name}_act_in_##kernels}};

SET(base)
{reset_declared}\
#if defined(__x86_64__)
{_declared(X86)}
/* By its bit, since not every compiler knows it by name; that the system keeps such registers AVX2 has told. */
static int has_avxvnni(void)
{{
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4);
}}

static const kernel_set *best(void)
{{
    __builtin_cpu_init();
{of_x86}    return &of_base;
}}
#elif defined(__aarch64__) && defined(__linux__)
{_declared(ARM)}
static const kernel_set *best(void)
{{
{of_arm}    return &of_base;
}}
#else
static const kernel_set *best(void)
{{
    return &of_base;
}}
#endif

/* Two threads that choose at once choose alike. */
static const kernel_set *chosen(void)
{{
    static const kernel_set *found;
    const kernel_set *set = __atomic_load_n(&found, __ATOMIC_ACQUIRE);
    if (!set) {{
        set = best();
        __atomic_store_n(&found, set, __ATOMIC_RELEASE);
    }}
    return set;
}}

{act}
{{
    return chosen()->act({state}observation, action);
}}

{act_in}
{{
    return chosen()->act_in({state}scratch, observation, action);
}}
{reset}
const char *{name}_kernel_set(void)
{{
    return chosen()->name;
}}
"""


def use(name: str) -> str:
    """How the library is built, in README.md."""
    return f"""\
`make` builds `lib{name}.so` for the machine of the compiler (`CC=aarch64-linux-gnu-gcc`: for 64-bit Arm). It runs on
every x86-64, or 64-bit Arm, and `{name}_kernel_set()` says which kernels it chose there:
{", ".join(_names(X86))}, on Arm {", ".join(_names(ARM))}. All of them read the same weights. A program takes it by
`cc program.c -IFOLDER -LFOLDER -l{name}`, and finds it where `LD_LIBRARY_PATH` or `-Wl,-rpath,FOLDER` says.
Sums of integers are the same with all; those of floats but for their last bits, which the instructions round otherwise.
Never compile with `-ffast-math`.
"""


def makefile(name: str) -> str:
    """The Makefile of a library."""
    upper = name.upper()
    flags = "".join(f"{kernels.name}: FLAGS = {kernels.flags}\n" for kernels in (*X86, *ARM) if kernels.flags)
    targets = "".join(f"{name}_{line}" for line in flags.replace(":", ".o:").splitlines(keepends=True))
    return f"""\
# make          lib{name}.so: kernels for several processors, chosen where it runs; for Arm
#               make clean, then make CC=aarch64-linux-gnu-gcc
# make test     decides the golden examples with it
CC     ?= cc
CFLAGS ?= -std=c99 -O3 -ffp-contract=off
SETS   := base

MACHINE := $(shell $(CC) -dumpmachine)
ifneq ($(filter x86_64-%,$(MACHINE)),)
SETS := {" ".join(_names(X86))}
else ifneq ($(filter aarch64-%,$(MACHINE)),)
SETS := {" ".join(_names(ARM))}
endif
OBJECTS := $(SETS:%={name}_%.o)

lib{name}.so: {name}_dispatch.c {name}.h $(OBJECTS)
	$(CC) $(CFLAGS) -fPIC -shared {name}_dispatch.c $(OBJECTS) -lm -o $@

{targets}{name}_base.o: FLAGS = -D{upper}_CONSTANTS

$(OBJECTS): {name}_%.o: {name}.c {name}.h {name}_kernels.h
	$(CC) $(CFLAGS) -fPIC -fvisibility=hidden $(FLAGS) -D{upper}_KERNELS=$* -c {name}.c -o $@

{name}_selftest: {name}_selftest.c {name}.h lib{name}.so
	$(CC) $(CFLAGS) -D{upper}_SELFTEST_MAIN {name}_selftest.c ./lib{name}.so -lm -o $@

.PHONY: test clean
test: {name}_selftest
	./{name}_selftest

clean:
	rm -f $(OBJECTS) lib{name}.so {name}_selftest
"""


def _names(sets: tuple[KernelSet, ...]) -> list[str]:
    return [kernels.name for kernels in sets]


def _declared(sets: tuple[KernelSet, ...]) -> str:
    return "".join(f"SET({kernels.name})\n" for kernels in sets if kernels.condition)


def _choice(sets: tuple[KernelSet, ...]) -> str:
    return "".join(
        f"    if ({kernels.condition}) {{\n        return &of_{kernels.name};\n    }}\n"
        for kernels in sets
        if kernels.condition
    )
