"""A C artifact on a microcontroller: cross-compiled, self-tested and counted in an emulator.

A count is the slope between one call and many: exact and repeatable. Instructions are not cycles.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

import numpy as np

from lilliput.errors import LilliputError, MissingDependency
from lilliput.measure.meter import Measured, Meter, Room
from lilliput.measurement import Measurement
from lilliput.policies import spaces
from lilliput.policies.artifact import Artifact, Manifest, read_artifact

_BOARDS = Path(__file__).parent / "boards"
_FLAGS = ("-std=c99", "-O2", "-ffp-contract=off", "-ffunction-sections", "-fdata-sections")


@final
@dataclass(frozen=True)
class Target:
    """A processor that an artifact is measured for.

    Attributes:
        name: as the command line spells it.
        compiler: its command; package: what Debian calls it.
        flags: what chooses the processor.
        board: stem of the start-up code and linker script.
        code, data, data_size: addresses of the emulated memory.
        emulator: command without the program; emulator_package: what Debian calls it.
        cycles: an instruction takes, assumed, with the program in memory without wait states: loads and taken branches
            take two or more.
        size: the command that lists the sections of a program; link: flags that linking takes beside its script.
        note: what a reader of the count has to know.
    """

    name: str
    compiler: str
    package: str
    flags: tuple[str, ...]
    board: str
    code: int
    data: int
    data_size: int
    emulator: tuple[str, ...]
    emulator_package: str
    cycles: float
    size: str
    link: tuple[str, ...] = ()
    note: str = ""


def _cortex(
    name: str, machine: str, cycles: float, flags: tuple[str, ...], *, code: int = 0, data: int = 0x20000000,
    note: str = "",
) -> Target:  # fmt: skip
    emulator = ("qemu-system-arm", "-machine", machine, "-semihosting-config", "enable=on,target=native")
    return Target(
        name, "arm-none-eabi-gcc", "gcc-arm-none-eabi libnewlib-arm-none-eabi", ("-mthumb", *flags), "cortex_m",
        code, data, 0x200000, emulator, "qemu-system-arm", cycles, "arm-none-eabi-size", ("--specs=nosys.specs",), note,
    )  # fmt: skip


def _riscv(name: str, architecture: str, abi: str) -> Target:
    emulator = ("qemu-system-riscv32", "-machine", "virt", "-bios", "none")
    flags = ("-misa-spec=2.2", f"-march={architecture}", f"-mabi={abi}", "-mcmodel=medany", "--specs=picolibc.specs")
    return Target(
        name, "riscv64-unknown-elf-gcc", "gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf", flags, "riscv32",
        0x80000000, 0, 0x4000000, emulator, "qemu-system-misc", 1.4, "riscv64-unknown-elf-size",
    )  # fmt: skip


_ALL = (
    _cortex("cortex-m0plus", "mps2-an385", 1.5, ("-mcpu=cortex-m0plus",), note="ARMv6-M code counted on a Cortex-M3"),
    _cortex("cortex-m3", "mps2-an385", 1.5, ("-mcpu=cortex-m3",)),
    _cortex("cortex-m4", "mps2-an386", 1.3, ("-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard")),
    _cortex("cortex-m7", "mps2-an500", 0.8, ("-mcpu=cortex-m7", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard")),
    _cortex(
        "cortex-m33", "mps2-an505", 1.2, ("-mcpu=cortex-m33", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard"),
        code=0x10000000, data=0x38000000,
    ),
    _riscv("riscv32", "rv32imc", "ilp32"),
    _riscv("riscv32f", "rv32imfc", "ilp32f"),
)  # fmt: skip

TARGETS: dict[str, Target] = {target.name: target for target in _ALL}
"""Every processor by name."""


ON_TARGETS = ("flash_bytes", "ram_bytes", "instructions")
"""The quantities that are counted on a target."""


@final
@dataclass(frozen=True)
class Counts:
    """What an artifact takes of a target.

    Attributes:
        target: which.
        flash_bytes: code and constants, without what any program needs.
        ram_bytes: static data and the stack of one decision.
        stack_bytes: of one decision, as the emulator saw it used.
        instructions: of one decision.
        passes_selftest: whether the golden examples came out right in the emulator.
    """

    target: Target
    flash_bytes: int
    ram_bytes: int
    stack_bytes: int
    instructions: int
    passes_selftest: bool


def target_named(name: str) -> Target:
    """The target of that name.

    Raises:
        LilliputError: there is none.
    """
    if name not in TARGETS:
        raise LilliputError(f"the target is {name!r}; known: host, {', '.join(TARGETS)}")
    return TARGETS[name]


def check_tools(target: Target) -> None:
    """Check that what compiles for the target and emulates it is installed.

    Raises:
        MissingDependency: it is not.
    """
    for command, package in ((target.compiler, target.package), (target.emulator[0], target.emulator_package)):
        if not shutil.which(command):
            raise MissingDependency(f"{target.name}: {command} is not installed; apt install {package}")


def count(artifact: Artifact, target: Target) -> Counts:
    """Flash, RAM, stack and instructions of one decision, and the self-test, in the emulator.

    Raises:
        MissingDependency: no cross compiler or emulator.
        LilliputError: no C artifact, or one that the target's compiler or memory does not take.
    """
    if artifact.manifest.format != "c":
        raise LilliputError(f"{artifact.folder} is of the format {artifact.manifest.format}; a microcontroller needs c")
    check_tools(target)
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        mains = f"-D{artifact.manifest.name.upper()}_SELFTEST_MAIN", "-Dmain=selftest_main"
        selftest = _compiled(artifact, target, _selftest(artifact), work, *mains, "-fno-builtin-printf")
        policy = _compiled(artifact, target, artifact.folder / f"{artifact.manifest.name}.c", work)
        board = _compiled(artifact, target, _BOARDS / f"{target.board}.c", work)
        main = _compiled(artifact, target, _BOARDS / "measure.c", work)
        found = _emulated(target, _linked(target, [main, board, policy, selftest], work / "measure"))
        sizes = []
        for option in ("-DWITH_POLICY", "-DWITHOUT_POLICY"):
            small = _compiled(artifact, target, _BOARDS / "flash.c", work, option)
            sizes.append(_sections(target, _linked(target, [small, board, policy], work / "flash")))
    stack = found["stack"]
    return Counts(
        target=target,
        flash_bytes=sizes[0][0] - sizes[1][0],
        ram_bytes=sizes[0][1] - sizes[1][1] + stack,
        stack_bytes=stack,
        instructions=_slope(found),
        passes_selftest=bool(found["selftest"]),
    )


def on_target(folder: Path, name: str) -> tuple[Measurement, ...]:
    """The counts of the artifact in the folder on the target of that name.

    Raises:
        LilliputError: there is no such target, it cannot take the artifact, or the self-test fails there.
    """
    counts = count(read_artifact(folder), target_named(name))
    if not counts.passes_selftest:
        raise LilliputError(f"{folder.name} fails its self-test on {name}")
    return measurements(counts)


def measurements(counts: Counts) -> tuple[Measurement, ...]:
    """The counts as measurements."""
    target = counts.target
    emulated = f"emulated: QEMU {target.emulator[2]}, {target.name}{f' ({target.note})' if target.note else ''}"
    flags = f"{target.compiler} {' '.join((*_FLAGS[1:3], *target.flags))}"
    return (
        Measurement("flash_bytes", (float(counts.flash_bytes),), f"counted: sections of the linked program, {flags}"),
        Measurement("ram_bytes", (float(counts.ram_bytes),), f"{emulated}: static data and stack, {flags}"),
        Measurement("instructions", (float(counts.instructions),), f"{emulated}: instructions a call, {flags}"),
    )


def _compiled(artifact: Artifact, target: Target, source: Path, work: Path, *options: str) -> Path:
    manifest = artifact.manifest
    is_choice = not isinstance(manifest.action_space, spaces.Box)
    defined = (
        f"-DDECIDE={manifest.symbol}",
        f'-DPOLICY="{manifest.name}.h"',
        f"-DINPUT={_input_type(manifest)}",
        f"-DOUTPUT={'int32_t' if is_choice or manifest.units is not None else 'float'}",
        f"-DSIZE_OF_OBSERVATION={int(np.prod(spaces.input_shape(manifest.observation_space)))}",
        f"-DSIZE_OF_ACTION={int(np.prod(spaces.action_shape(manifest.action_space)))}",
    )
    if manifest.state:
        defined += (f"-DSTATE={manifest.name}_state", f"-DRESET={manifest.name}_reset")
    # A policy may be called as a file of the board is.
    output = work / f"{source.parent.name if source.parent == _BOARDS else 'policy'}_{source.stem}.o"
    include = ("-I", str(artifact.folder), "-I", str(_BOARDS))
    _run(
        target,
        [target.compiler, *target.flags, *_FLAGS, *defined, *include, *options, "-c", str(source), "-o", str(output)],
    )
    return output


def _input_type(manifest: Manifest) -> str:
    if manifest.units is not None:
        return f"{manifest.units.dtype.name}_t"
    return "uint8_t" if spaces.input_dtype(manifest.observation_space) == "uint8" else "float"


def _selftest(artifact: Artifact) -> Path:
    return next(artifact.folder / name for name in artifact.manifest.files if name.endswith("selftest.c"))


def _linked(target: Target, objects: list[Path], output: Path) -> Path:
    memory = (("CODE", target.code), ("DATA", target.data), ("DATA_SIZE", target.data_size))
    defined = [f"-Wl,--defsym={name}={value:#x}" for name, value in memory]
    script = str(_BOARDS / f"{target.board}.ld")
    command = [target.compiler, *target.flags, "-nostartfiles", "-Wl,--gc-sections", *defined, "-T", script]
    command += target.link
    _run(target, [*command, "-Wl,--no-warn-rwx-segments", *map(str, objects), "-lm", "-o", str(output)])
    return output


def _run(target: Target, command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = next(
            (line for line in done.stderr.splitlines() if "error" in line or "overflow" in line), done.stderr[-200:]
        )
        raise LilliputError(f"{target.name}: {reason.strip()}")
    return done.stdout


def _emulated(target: Target, program: Path) -> dict[str, int]:
    command = [*target.emulator, "-kernel", str(program), "-icount", "shift=0", "-nographic", "-monitor", "none"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=300, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise LilliputError(f"{target.name}: the emulator did not end in 300 s") from None
    found = dict(line.split(maxsplit=1) for line in (done.stdout + done.stderr).splitlines() if len(line.split()) == 2)
    if "stack" not in found:
        raise LilliputError(f"{target.name}: the emulator stopped: {(done.stdout + done.stderr).strip()[-200:]}")
    numbers = {name: int(found[name]) for name in ("rounds_clock", "one", "calls", "many", "stack")}
    return {**numbers, "selftest": int(found.get("selftest") == "passed")}


def _slope(ticks: dict[str, int]) -> int:
    """Instructions of a call: the clock is calibrated by a loop of two million instructions."""
    per_tick = round(2_000_000 / ticks["rounds_clock"])
    return round((ticks["many"] - ticks["one"]) * per_tick / ticks["calls"])


def _sections(target: Target, program: Path) -> tuple[int, int]:
    """Bytes of flash and of static memory."""
    listed = _run(target, [target.size, "-A", str(program)])
    sizes = {line.split()[0]: int(line.split()[1]) for line in listed.splitlines() if line.startswith(".")}
    data = sizes.get(".data", 0)
    return sizes.get(".text", 0) + sizes.get(".ARM.exidx", 0) + data, data + sizes.get(".bss", 0)


@final
@dataclass(frozen=True)
class OnTarget(Meter):
    """What the C takes on a microcontroller, counted in an emulator."""

    NAME: ClassVar[str] = "target"
    QUANTITIES: ClassVar[tuple[str, ...]] = ("flash_bytes", "ram_bytes", "instructions")
    ON_TARGET: ClassVar[bool] = True
    FORMATS: ClassVar[tuple[str, ...]] = ("c",)
    SECONDS: ClassVar[float] = 3.0

    def measure(self, room: Room) -> Sequence[Measured]:
        """One value each."""
        return [on_target(bench.folder, bench.cell.target) for bench in room.benches]
