"""Thousands of mutated files: each ends in a Policy or in one line of LilliputError, in bounded time and memory."""

import cProfile
import io
import json
import resource
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.policies.load.checkpoints import FILES, FOLDER, copied, source
from tests.policies.load.torch_writer import layer, linear, mlp, module, sequential, torch_file

from lilliput.errors import LilliputError
from lilliput.policies import file as policy_file
from lilliput.policies.load import load_policy
from lilliput.policies.load.vecnormalize import read_normalizer
from lilliput.policies.policy import Policy

N_QUICK = 12
"""Mutations of each seed file in the quick suite."""
N_SLOW = 125
MAX_CALLS = 500_000
"""Calls of functions, C's too: some 40 times what the longest of the whole files takes."""
MAX_GROWTH_BYTES = 400 << 20

Rng = np.random.Generator
Mutation = Callable[[bytes, Rng], bytes]

NASTY = [
    *(b"\x00" * 8, b"\xff" * 8, b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", (1 << 62).to_bytes(8, "little"), b"\x80"),
    *(b"..", b"/", b"\n", b"R", b"b", b"cposix\nsystem\n", b"\x8e" + (1 << 60).to_bytes(8, "little")),
    *(b"nan", b"inf", b"1e999", b"-1", b"\xf0\x9f\x92\xa9", b"9" * 5000, b"[" * 3000),
]


def flip(data: bytes, rng: Rng) -> bytes:
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        changed[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def overwrite(data: bytes, rng: Rng) -> bytes:
    at, nasty = int(rng.integers(len(data))), NASTY[int(rng.integers(len(NASTY)))]
    return data[:at] + nasty + data[at + len(nasty) :]


def insert(data: bytes, rng: Rng) -> bytes:
    at = int(rng.integers(len(data)))
    return data[:at] + NASTY[int(rng.integers(len(NASTY)))] + data[at:]


def truncate(data: bytes, rng: Rng) -> bytes:
    return data[: int(rng.integers(len(data)))]


def cut(data: bytes, rng: Rng) -> bytes:
    start, end = sorted(int(i) for i in rng.integers(len(data), size=2))
    return data[:start] + data[end:]


def repeat(data: bytes, rng: Rng) -> bytes:
    start, end = sorted(int(i) for i in rng.integers(len(data), size=2))
    return data[:end] + data[start:end] * int(rng.integers(1, 4)) + data[end:]


def swap(data: bytes, rng: Rng) -> bytes:
    a, b, c = sorted(int(i) for i in rng.integers(len(data), size=3))
    return data[:a] + data[b:c] + data[a:b] + data[c:]


RAW: tuple[Mutation, ...] = (flip, overwrite, insert, truncate, cut, repeat, swap)


def inside(data: bytes, rng: Rng) -> bytes:
    """Mutates one entry of a zip file, or of a zip in a zip, and packs it again, so that every checksum is right."""
    if not data.startswith(b"PK"):
        return RAW[int(rng.integers(len(RAW)))](data, rng) if data else data
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(stream, "w") as changed:
        names = archive.namelist()
        chosen = names[int(rng.integers(len(names)))]
        for name in names:
            content = archive.read(name)
            if name == chosen and name == "data":
                content = json_values(content, rng)
            elif name == chosen:
                content = inside(content, rng)
            changed.writestr(name, content)
    return stream.getvalue()


ODD_VALUES: list[Any] = [
    *(None, True, -1, 0, 1 << 70, 1e308, float("nan"), "", "[1. ... 2.]", "[nan nan]", "x" * 2000, "gAR9lC4="),
    *([], {}, [[]], {":type:": 3}, [1 << 40], [-1], [0], [3, 3, 3]),
    *("<class 'torch.nn.modules.activation.Nothing'>", "<class 'gymnasium.spaces.box.Box'>"),
]


def json_values(data: bytes, rng: Rng) -> bytes:
    """Replaces a value somewhere in a JSON object."""
    parsed = json.loads(data)
    node = parsed
    while True:
        keys = list(node)
        key = keys[int(rng.integers(len(keys)))]
        if not isinstance(node[key], dict) or not node[key] or rng.random() < 0.2:
            node[key] = ODD_VALUES[int(rng.integers(len(ODD_VALUES)))]
            return json.dumps(parsed).encode()
        node = node[key]


def seed_files(folder: Path) -> dict[str, bytes]:
    """Every kind of file that `load_policy` reads."""
    files = {name: source(name).read_bytes() for name in FILES}
    policy_file.write(load_policy(copied("ppo", folder)), folder / "own.lilliput")
    files["own"] = (folder / "own.lilliput").read_bytes()
    net = sequential(linear(3, 4), layer("activation.ReLU"), linear(4, 2), layer("activation.Tanh"))
    actor = module("core.MLPActor", {"pi": net}, act_limit=2.0)
    files["module"] = torch_file(module("core.MLPActorCritic", {"pi": actor, "q": module("core.MLPQFunction")}))
    files["hdf5"] = (FOLDER / "training" / "rl_tools_gru.h5").read_bytes()
    files |= {f"keras, {kind}": (FOLDER / "training" / f"keras3_ddpg.{kind}").read_bytes() for kind in ("h5", "keras")}
    files["nested"] = torch_file({"model": mlp("network", [3, 120, 84, 2]), "args": {"lr": 0.1, "sizes": [1, 2]}})
    return files


def attempt(read: Callable[[], Any], what: str) -> bool:
    """Whether there is a result; anything but one or a line of LilliputError, or too many calls, fails the test."""
    message, calls = "", cProfile.Profile()  # of all that counts calls it takes them the least time
    calls.enable()
    try:
        read()
    except LilliputError as error:
        message = str(error)
        complaint = "\n" in message or not 10 < len(message) < 2000
    else:
        complaint = False
    finally:
        calls.disable()
    assert not complaint, f"{what}: {message!r}"
    assert sum(function.callcount for function in calls.getstats()) < MAX_CALLS, what
    return not message


def fuzz_files(folder: Path, n: int) -> tuple[int, int]:
    """How many mutated files were read, and how many of them still were policies."""
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tried = loaded = 0
    for number, (name, data) in enumerate(seed_files(folder).items()):
        # Mutating what is inside finds most: what is outside is caught by checksums.
        for mutation in range(n):
            rng = np.random.default_rng([number, mutation])
            mutate = RAW[mutation % len(RAW)] if mutation % 3 == 0 else inside
            path = folder / "mutated"
            path.write_bytes(mutate(data, rng))

            def read(path: Path = path) -> None:
                assert isinstance(load_policy(path), Policy)

            loaded += attempt(read, f"{name}, {mutate.__name__}, mutation {mutation}")
            tried += 1
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) * 1024
    assert grown < MAX_GROWTH_BYTES, f"{grown} bytes more at the peak"
    return tried, loaded


def fuzz_side_files(folder: Path, n: int) -> int:
    """How many mutated normalizers and configurations were read."""
    policy_path = copied("ppo", folder)
    inner = folder / "ppo"
    inner.mkdir()
    config = (
        b"!!python/object/apply:collections.OrderedDict\n"
        b"- - - env_wrapper\n    - - sb3_contrib.common.wrappers.TimeFeatureWrapper\n"
        b"  - - frame_stack\n    - 4\n  - - normalize\n    - \"{'norm_obs': True}\"\n"
    )
    stream = io.BytesIO()
    np.savez(stream, mean=np.zeros(4), var=np.ones(4), clip=10.0)
    statistics = {
        "pickle": (FOLDER / "vecnormalize.pkl").read_bytes(),
        "npz": stream.getvalue(),
        "json": json.dumps({"mean": [0.0] * 4, "var": [1.0] * 4, "epsilon": 1e-8, "clip": 10}).encode(),
    }
    tried = 0
    for number, (name, data) in enumerate(statistics.items()):
        for mutation in range(n):
            rng = np.random.default_rng([100 + number, mutation])
            changed = inside(data, rng) if mutation % 2 else RAW[mutation % len(RAW)](data, rng)
            attempt(lambda changed=changed: read_normalizer(changed, "x"), f"{name}, mutation {mutation}")
            tried += 1
    (inner / "vecnormalize.pkl").write_bytes(statistics["pickle"])
    for mutation in range(n):
        rng = np.random.default_rng([200, mutation])
        (inner / "config.yml").write_bytes(RAW[mutation % len(RAW)](config, rng))
        attempt(lambda: load_policy(policy_path), f"config.yml, mutation {mutation}")
        tried += 1
    return tried


def test_mutated_files(tmp_path: Path) -> None:
    tried, loaded = fuzz_files(tmp_path, N_QUICK)
    assert tried >= 15 * N_QUICK
    # Both ends are reached: a fuzzer that breaks all files at the door tests nothing behind it.
    assert 0.05 * tried < loaded < 0.95 * tried


def test_mutated_normalizers_and_configurations(tmp_path: Path) -> None:
    assert fuzz_side_files(tmp_path, N_QUICK) >= 4 * N_QUICK


@pytest.mark.slow
@pytest.mark.longest
def test_thousands_of_mutated_files(tmp_path: Path) -> None:
    tried, _ = fuzz_files(tmp_path, N_SLOW)
    assert tried + fuzz_side_files(tmp_path, N_SLOW) >= 2000
