"""Policies on an ATmega328P, whose `int` has 16 bits, in simavr: the self-test passes in the stack that is said."""

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tests.compiled import compiled
from tests.policies.export.test_c import quantized_mlp
from tests.policies.export.test_generated import policy_of
from tests.strategies import Form

import lilliput
from lilliput.policies import layers, reference, spaces
from lilliput.policies.affine import QuantizedTensor
from lilliput.policies.export import c
from lilliput.policies.policy import Policy

BOARD = Path(__file__).parent / "boards" / "avr.c"


def on_avr(policy: Policy, folder: Path, observations: np.ndarray, tolerance: float, level: str = "-Os") -> int:
    """Bytes of stack of one decision, where the self-test passes."""
    for command in ("avr-gcc", "simavr"):
        if not shutil.which(command):
            pytest.skip(f"{command} is not installed; apt install gcc-avr avr-libc simavr")
    if policy.has_memory:
        actions = np.stack([lilliput.act_episode(policy, episode) for episode in observations])
    else:
        actions = reference.act(policy, observations)
    c.write(policy, folder, observations, actions, tolerance, name="pilot")
    n, k = observations.shape[-1], spaces.action_shape(policy.action_space)
    defined = [
        "-DARDUINO=10800",
        '-DPOLICY="pilot.h"',
        "-DINPUT=float",
        "-DDECIDE=pilot_act",
        "-DSELFTEST=pilot_selftest",
    ]
    defined += [f"-DOUTPUT={'int32_t' if policy.is_discrete else 'float'}", f"-DSIZE_OF_OBSERVATION={n}"]
    defined += [f"-DSIZE_OF_ACTION={int(np.prod(k))}", *(["-DSTATE=pilot_state"] if policy.has_memory else [])]
    command = ["avr-gcc", "-mmcu=atmega328p", "-std=gnu99", level, "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"]
    command += ["-Wno-unused-function", "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections", "-I.", *defined]
    sources = [str(BOARD), "pilot.c", "pilot_selftest.c"]
    built = compiled([*command, *sources, "-lm", "-o", "pilot.elf"], folder)
    assert built.returncode == 0, built.stderr[:2000]
    done = subprocess.run(
        ["simavr", "-m", "atmega328p", "-f", "16000000", "pilot.elf"], cwd=folder, capture_output=True, timeout=600
    )
    said = done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")
    found = dict(re.findall(r"(wrong|stack) (\d+)", said))
    assert found.get("wrong") == "0", said[-500:]
    stack = int(found["stack"])
    assert stack <= stack_said(folder / "pilot.h")[0]
    return stack


def bytes_of_memory(program: Path) -> int:
    """Static memory of a program, where what is copied from flash at the start is counted."""
    listed = subprocess.run(["avr-size", str(program)], capture_output=True, text=True, check=True).stdout
    _, data, bss, *_ = map(int, listed.splitlines()[1].split()[:4])
    return data + bss


def stack_said(header: Path) -> tuple[int, int]:
    """What a header says that a call takes, without and with a float unit."""
    said = re.search(r"at most (\d+) bytes of stack.* without a float unit, (\d+) with", header.read_text())
    assert said
    return int(said[1]), int(said[2])


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("form", "bits", "sparsity", "level"),
    [
        ("float32", 8, 0.0, "-O2"), ("float16", 8, 0.0, "-Os"), ("weight_only", 3, 0.0, "-Os"),
        ("weight_only", 8, 0.6, "-O2"), ("static", 8, 0.0, "-Os"), ("static", 5, 0.0, "-O2"),
        ("static", 4, 0.7, "-Os"), ("dynamic", 8, 0.0, "-O2"), ("dynamic", 4, 0.0, "-Os"), ("dynamic", 8, 0.9, "-O2"),
    ],
)  # fmt: skip
def test_the_selftest_passes_where_int_has_16_bits(
    form: Form, bits: int, sparsity: float, level: str, tmp_path: Path
) -> None:
    policy = quantized_mlp(form, 0, (bits, 8), (5, 11, 18, 2), sparsity)
    x = np.random.default_rng(1).normal(0, 2, (8, 5)).astype(np.float32)
    exact = form in ("static", "dynamic")
    scale = float(np.abs(reference.act(policy, x)).max())
    on_avr(policy, tmp_path, x, (1e-6 if exact else 2e-5) * scale, level)


@pytest.mark.embedded
@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_a_memory_is_kept_where_constants_stand_in_flash(name: str, tmp_path: Path) -> None:
    policy = policy_of(name)
    width = spaces.input_shape(policy.observation_space)[0]
    episodes = np.random.default_rng(0).normal(0, 1, (2, 4, width)).astype(np.float32)
    on_avr(policy, tmp_path, episodes, 1e-5)


@pytest.mark.embedded
def test_sums_beyond_16_bits_are_right(tmp_path: Path) -> None:
    """Eight units that are all large at once: four products pass 32,767."""
    weight = QuantizedTensor(np.full((3, 9), 127, np.int8), np.array(0.01, np.float32), 8)
    range_ = layers.StaticRange(np.array(255, np.float32), np.array(0, np.int32))
    layer = layers.QuantizedDense(weight, np.array([0, 1, -1], np.float32), range_)
    last = layers.QuantizedDense(
        QuantizedTensor(weight.values[:, :3], weight.scale, 8),
        None,
        layers.StaticRange(np.array(20, np.float32), np.array(3, np.int32)),
    )
    ends = np.full(9, np.inf)
    policy = Policy(spaces.Box((9,), -ends, ends), spaces.Box((3,), -ends[:3], ends[:3]), (layer, layers.Relu(), last))
    on_avr(policy, tmp_path, np.linspace(0.5, 1, 36, dtype=np.float32).reshape(4, 9), 1e-4)


ARDUINO = Path("/usr/share/arduino/hardware")


@pytest.mark.embedded
def test_the_sketch_of_the_readme_runs_the_selftest_under_arduino(tmp_path: Path) -> None:
    """The library as it stands, built by Arduino's own builder with its core for an Uno: 5.6 KB of weights beside 2 KB
    of golden examples, in 2 KB of memory."""
    if not shutil.which("arduino-builder") or not ARDUINO.is_dir():
        pytest.skip("Arduino is not installed; apt install arduino-builder arduino-core-avr simavr")
    policy = quantized_mlp("static", 0, (8, 8), (17, 64, 64, 6))
    x = np.random.default_rng(1).normal(0, 2, (24, 17)).astype(np.float32)
    library, sketch, build = (tmp_path / name for name in ("libraries/pilot", "sketch/sketch.ino", "build"))
    for folder in (library, sketch.parent, build):
        folder.mkdir(parents=True)
    c.write(policy, library, x, reference.act(policy, x), 1e-4, name="pilot")
    told = re.search(r"```cpp\n(.*?)```", (library / "README.md").read_text(), re.DOTALL)
    assert told
    ends = "#include <avr/sleep.h>\nvoid loop() { Serial.flush(); cli(); sleep_enable(); sleep_cpu(); }"
    sketch.write_text(told[1].replace("void loop() {}", ends))
    command = ["arduino-builder", "-hardware", "/usr/share/arduino-builder", "-hardware", str(ARDUINO)]
    command += ["-tools", "/usr/bin", "-libraries", str(library.parent), "-fqbn", "arduino:avr:uno", "-warnings", "all"]
    # Debian's avr-gcc is older than Arduino's, and lacks a name that Arduino's strings need.
    command += ["-prefs", "compiler.cpp.extra_flags=-DDECIMAL_DIG=__DECIMAL_DIG__", "-build-path", str(build)]
    built = subprocess.run([*command, str(sketch)], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr[-2000:]
    assert "pilot" not in built.stderr  # no warnings of ours
    elf = build / "sketch.ino.elf"
    done = subprocess.run(["simavr", "-m", "atmega328p", "-f", "16000000", elf], capture_output=True, timeout=600)
    said = done.stdout + done.stderr
    assert re.findall(rb"(\d+)\.\.", said) == [b"0"], said[-500:]
    assert policy.model_bytes > 5600
    assert bytes_of_memory(elf) + stack_said(library / "pilot.h")[0] < 2048  # Arduino's serial port takes some of it


@pytest.mark.embedded
def test_constants_stay_in_flash(tmp_path: Path) -> None:
    """22 KB of weights on a processor with 2 KB of memory."""
    policy = quantized_mlp("float32", 0, (8, 8), (17, 64, 64, 6))
    x = np.random.default_rng(1).normal(0, 2, (4, 17)).astype(np.float32)
    scale = float(np.abs(reference.act(policy, x)).max())
    stack = on_avr(policy, tmp_path, x, 2e-5 * scale)
    memory = bytes_of_memory(tmp_path / "pilot.elf")
    assert policy.model_bytes > 20_000
    assert memory < 200  # the observation and the action, twice
    assert memory + stack < 2048


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("policy", "message", "language"),
    [
        (quantized_mlp("float32", 0, (8, 8), (17, 128, 96, 6)), "do not fit this processor's flash", ["-std=gnu99"]),
        # Decoded and stored values by the same kernel: these constants are copied, as all are in C++.
        (quantized_mlp("float16", 0, (8, 8), (64, 128, 128, 6), 0.95), "processor's memory", ["-std=gnu99"]),
        (quantized_mlp("static", 0, (8, 8), (17, 64, 64, 6)), "processor's memory", ["-x", "c++", "-std=gnu++11"]),
    ],
    ids=["flash", "memory", "cpp"],
)
def test_what_does_not_fit_is_refused(policy: Policy, message: str, language: list[str], tmp_path: Path) -> None:
    if not shutil.which("avr-gcc"):
        pytest.skip("avr-gcc is not installed; apt install gcc-avr avr-libc simavr")
    x = np.zeros((1, policy.observation_space.size), np.float32)
    c.write(policy, tmp_path, x, reference.act(policy, x), 1e-4, name="pilot")
    command = ["avr-gcc", "-mmcu=atmega328p", *language, "-Os", "-c", "pilot.c"]
    built = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert built.returncode != 0
    assert message in built.stderr


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("form", "bits", "level"),
    [
        ("float16", 8, "-Os"), ("weight_only", 3, "-O2"), ("static", 8, "-Os"), ("static", 5, "-O2"),
        ("dynamic", 8, "-O2"), ("dynamic", 4, "-Os"),
    ],
)  # fmt: skip
def test_a_small_policy_takes_a_small_stack(form: Form, bits: int, level: str, tmp_path: Path) -> None:
    policy = quantized_mlp(form, 0, (bits, 8), (3, 2, 1))
    policy = dataclasses.replace(policy, layers=(*policy.layers, layers.Tanh()))
    assert policy.model_bytes < 60
    x = np.random.default_rng(1).normal(0, 2, (4, 3)).astype(np.float32)
    assert on_avr(policy, tmp_path, x, 1e-5, level) < 128
