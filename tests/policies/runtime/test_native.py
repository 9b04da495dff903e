"""Compiled policies called from Python: any array that holds the observation, or a clear error."""

import dataclasses
import subprocess
import sys
import sysconfig
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lilliput import compiler
from lilliput.errors import LilliputError, MissingDependency
from lilliput.policies import layers, reference, spaces
from lilliput.policies.artifact import Artifact
from lilliput.policies.export import export, open_artifact
from lilliput.policies.policy import Policy
from lilliput.policies.runtime import native

KINDS = ["box", "matrix", "discrete", "multi_discrete", "image", "dict"]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LILLIPUT_CACHE", str(tmp_path_factory.mktemp("cache")))
        compiler.cache_folder.cache_clear()
        native._extension.cache_clear()
        yield
    compiler.cache_folder.cache_clear()
    native._extension.cache_clear()


def policy_of(kind: str, seed: int = 0) -> Policy:
    rng = np.random.default_rng(seed)
    low, high = np.array(-np.inf), np.array(np.inf)
    observed: spaces.ObservationSpace = spaces.Box((5,), low, high)
    stack: list[layers.Layer] = []
    if kind == "image":
        observed = spaces.Box((1, 2, 3), np.array(0.0), np.array(255.0), "uint8")
        stack += [layers.Standardize(*(np.array(v, np.float32) for v in (0, 1 / 255, np.inf))), layers.Flatten()]
    if kind == "dict":
        observed = spaces.Dict((("a", spaces.Box((2,), low, high)), ("b", spaces.Box((3,), low, high))))
    inputs = int(np.prod(spaces.input_shape(observed)))
    stack += [layers.Dense(rng.normal(0, 1, (6, inputs)).astype(np.float32), None)]
    acted: spaces.ActionSpace = spaces.Box((6,), low, high)
    if kind == "matrix":
        acted = spaces.Box((2, 3), low, high)
    if kind in ("discrete", "multi_discrete"):
        sizes = (6,) if kind == "discrete" else (2, 4)
        acted = spaces.Discrete(6) if kind == "discrete" else spaces.MultiDiscrete(sizes)
        stack.append(layers.ArgmaxAction(sizes))
    return Policy(observed, acted, tuple(stack))


def observations_of(policy: Policy, n: int = 8) -> np.ndarray:
    rng = np.random.default_rng(1)
    shape = (n, *spaces.input_shape(policy.observation_space))
    if spaces.input_dtype(policy.observation_space) == "uint8":
        return rng.integers(0, 256, shape).astype(np.uint8)
    return rng.normal(0, 1, shape).astype(np.float32)


@pytest.fixture(params=["extension", "ctypes"])
def opened(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    def open_policy(kind: str) -> Any:
        policy = policy_of(kind)
        artifact = export(policy, "c", tmp_path / kind)
        if request.param == "extension":
            return policy, native.open_native(artifact)
        monkeypatch.setattr(native, "_extension", lambda: "no Python.h here")
        with pytest.warns(RuntimeWarning, match=r"no Python.h here; policies are called through ctypes"):
            return policy, native.open_native(artifact)

    return open_policy


@pytest.mark.parametrize("kind", KINDS)
def test_actions_are_the_references_for_every_space(kind: str, opened: Any) -> None:
    policy, act = opened(kind)
    observations = observations_of(policy)
    expected = reference.act(policy, observations)
    actions = [act(observation) for observation in observations]
    batch = act.batch(observations)
    assert np.array_equal(np.array(actions), batch)
    assert np.allclose(batch, expected, atol=1e-5)
    assert batch.dtype == expected.dtype
    assert batch.shape == expected.shape
    if kind == "discrete":
        assert all(type(action) is int for action in actions)
    else:
        assert actions[0].dtype == expected.dtype
        assert actions[0] is not actions[1]
    assert isinstance(act.artifact, Artifact)


def test_any_array_that_holds_the_observation_will_do(opened: Any) -> None:
    policy, act = opened("box")
    observation = observations_of(policy)[0]
    expected = act(observation)
    strided = np.zeros((5, 3), np.float32)
    strided[:, 1] = observation
    unaligned = np.zeros(21, np.uint8)[1:].view(np.float32)
    unaligned[:] = observation
    for same in (
        observation.astype(np.float64),
        observation.astype(">f4"),
        strided[:, 1],
        observation[::-1].copy()[::-1],
        observation.tolist(),
        memoryview(observation),
        unaligned,
    ):
        assert np.array_equal(act(same), expected)
    whole = np.arange(5)
    assert np.array_equal(act(whole), act(whole.astype(np.float32)))
    assert np.array_equal(act.batch(observation[None].astype(np.float64))[0], expected)
    read_only = observation.copy()
    read_only.flags.writeable = False
    assert np.array_equal(act(read_only), expected)
    assert act.batch(np.zeros((0, 5), np.float32)).shape == (0, 6)


def test_an_observation_of_another_shape_or_kind_is_refused(opened: Any) -> None:
    _, act = opened("box")
    for wrong in (np.zeros(4), np.zeros((1, 5)), np.zeros(5, complex), "abc", None, [[1], [2, 3]], 1.0):
        with pytest.raises(LilliputError, match="observation"):
            act(wrong)
    for wrong in (np.zeros(5), np.zeros((2, 4)), np.zeros((2, 5), complex), "abc", None):
        with pytest.raises(LilliputError, match="observation"):
            act.batch(wrong)


def test_a_mapping_is_flattened_in_the_spaces_order(opened: Any) -> None:
    policy, act = opened("dict")
    flat = observations_of(policy)[0]
    assert np.array_equal(act({"b": flat[2:], "a": flat[:2]}), act(flat))
    with pytest.raises(LilliputError, match="the policy takes a, b"):
        act({"a": flat[:2]})


def test_images_are_bytes_and_nothing_between_them(opened: Any) -> None:
    policy, act = opened("image")
    image = observations_of(policy)[0]
    assert np.array_equal(act(image.astype(np.float64)), act(image))
    with pytest.raises(LilliputError, match="the policy takes uint8"):
        act(image + 0.5)


@pytest.mark.parametrize("kind", ["box", "multi_discrete"])
def test_into_writes_the_action_and_refuses_what_it_cannot_fill(kind: str, tmp_path: Path) -> None:
    policy = policy_of(kind)
    act: Any = native.open_native(export(policy, "c", tmp_path / "out"))
    observation = observations_of(policy)[0]
    expected = act(observation)
    out = np.zeros_like(expected)
    assert act.into(observation, out) is None
    assert np.array_equal(out, expected)
    for wrong in (np.zeros(99, out.dtype), out.astype(np.float64), np.zeros((len(out), 2), out.dtype)[:, 0], None):
        with pytest.raises(LilliputError, match="`out` must be"):
            act.into(observation, wrong)
    with pytest.raises(TypeError):
        act.into(observation)


def test_threads_share_an_actor(tmp_path: Path) -> None:
    policy = policy_of("box")
    act: Any = native.open_native(export(policy, "c", tmp_path / "out"))
    observations = observations_of(policy, 20_000)
    expected = act.batch(observations)
    wrong: list[int] = []

    def play() -> None:
        if not np.array_equal(act.batch(observations), expected):
            wrong.append(1)
        for observation, action in zip(observations[:2000], expected, strict=False):
            if not np.array_equal(act(observation), action):
                wrong.append(1)

    threads = [threading.Thread(target=play) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_actions_are_not_overwritten_and_nothing_leaks(tmp_path: Path) -> None:
    policy = policy_of("box")
    act: Any = native.open_native(export(policy, "c", tmp_path / "out"))
    x, y = observations_of(policy)[:2]
    first = act(x)
    kept = first.copy()
    act(y)
    assert np.array_equal(first, kept)
    assert sys.getrefcount(x) == sys.getrefcount(y)
    with pytest.raises(LilliputError):
        act(np.zeros(3))
    before = sys.getrefcount(LilliputError)
    for _ in range(50):
        with pytest.raises(LilliputError):
            act(np.zeros(3))
    assert sys.getrefcount(LilliputError) - before < 20


def test_an_action_that_anything_still_sees_is_left_alone(tmp_path: Path) -> None:
    policy = policy_of("box")
    act: Any = native.open_native(export(policy, "c", tmp_path / "out"))
    observations = observations_of(policy, 30)
    expected = act.batch(observations)
    seen: list[Any] = []
    for i, x in enumerate(observations):
        action = act(x)
        assert action.flags.writeable
        assert action.dtype == np.float32
        assert action.shape == expected[i].shape
        held = [action, action[1:], memoryview(action), action.view(np.int32)][i % 4]
        seen.append((i, held if i % 5 else None))
        if i % 5 == 0:
            watched = weakref.ref(action)
            action.setflags(write=False)
            del action
            act(x)
            left = watched()
            assert left is None or np.array_equal(left, expected[i])
    for i, held in seen:
        if held is not None:
            whole = [expected[i], expected[i][1:], expected[i], expected[i].view(np.int32)][i % 4]
            assert np.array_equal(np.asarray(held), whole)
    assert np.array_equal(act(observations[0]), expected[0])


def test_several_processes_may_compile_the_same_at_once(tmp_path: Path) -> None:
    policy = policy_of("box")
    export(policy, "onnx", tmp_path / "onnx")
    export(policy, "c", tmp_path / "c")
    code = "import sys, numpy as np; from lilliput.policies.export import open_artifact;"
    code += "print(open_artifact(sys.argv[1])(np.ones(5, np.float32)).tolist())"
    environment = {"LILLIPUT_CACHE": str(tmp_path / "cache"), "PATH": str(Path("/usr/bin")), "HOME": str(tmp_path)}
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "c")], env=environment, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    printed = {process.communicate()[0] for process in running}
    assert all(process.returncode == 0 for process in running)
    assert len(printed) == 1
    assert len(list((tmp_path / "cache").glob("c-*.so"))) == 1
    assert not list((tmp_path / "cache").glob(".compiling-*"))


def test_kept_vectors_change_no_byte_and_a_damaged_file_of_them_does_no_harm(tmp_path: Path) -> None:
    source = export(policy_of("box", seed=8), "c", tmp_path / "vectors").folder / "vectors.c"
    gcc = compiler.find_compiler()
    command = [*gcc, *native.FLAGS, "-fPIC", "-shared", str(source), "-lm", "-o", str(tmp_path / "plain.so")]
    subprocess.run(command, check=True)

    def made() -> bytes:
        library = compiler.shared_object([source], native.FLAGS, ("-lm",))
        content = library.read_bytes()
        library.unlink(missing_ok=True)
        return content

    plain = (tmp_path / "plain.so").read_bytes()
    assert made() == plain
    kept = list(compiler.cache_folder().glob("vectors-*.h.gch"))
    if not kept:
        pytest.skip("not gcc on x86-64")
    header = kept[0].with_suffix("")
    header.write_text("#error read in place of what was kept\n")
    subprocess.run([*command, "-include", str(header)], check=True)
    kept[0].write_bytes(kept[0].read_bytes()[:100_000])
    assert made() == plain
    kept[0].unlink()
    assert made() == plain


def test_an_empty_file_in_the_cache_is_built_again(tmp_path: Path) -> None:
    artifact = export(policy_of("box", seed=5), "c", tmp_path / "out")
    for path in compiler.cache_folder().glob("out-*.so"):
        path.unlink()  # an actor may still have it mapped
        path.touch()
    assert native.open_native(artifact)(np.zeros(5)).tolist() == [0.0] * 6


def test_no_compiler_is_an_error_that_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(policy_of("box", seed=6), "c", tmp_path / "c")
    export(policy_of("box", seed=6), "onnx", tmp_path / "onnx")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(MissingDependency, match=r"no C compiler .*apt install gcc.*--format onnx"):
        open_artifact(tmp_path / "c")
    assert open_artifact(tmp_path / "onnx")(np.zeros(5, np.float32)).shape == (6,)
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(MissingDependency, match=r"\$CC is 'no-such-compiler'"):
        open_artifact(tmp_path / "c")


def test_without_python_headers_there_is_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    native._extension.cache_clear()
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    reason = native._extension()
    native._extension.cache_clear()
    assert isinstance(reason, str)
    assert "apt install python3-dev" in reason


def test_a_missing_or_foreign_header_is_refused(tmp_path: Path) -> None:
    artifact = export(policy_of("box"), "c", tmp_path / "out")
    other = Artifact(artifact.folder, dataclasses.replace(artifact.manifest, symbol="another_act"))
    with pytest.raises(LilliputError, match=r"out\.c has no function another_act; export again"):
        native.open_native(other)
    (tmp_path / "out" / "out.h").unlink()
    with pytest.raises(LilliputError, match="is missing"):
        native.open_native(artifact)
