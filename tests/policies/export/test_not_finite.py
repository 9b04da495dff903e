"""NaN and infinity in an observation: reference, ONNX and C answer alike, and say that they did not decide."""

import ctypes
import itertools
from pathlib import Path

import numpy as np
import pytest
from tests.compiled import compiled
from tests.policies.export.test_c import AVX2_FLAG, skip_avx2_where_it_is_not_or_native
from tests.strategies import Form, random_linear

from lilliput.policies import layers, reference, spaces
from lilliput.policies.export import export, open_artifact
from lilliput.policies.policy import Policy

BAD = (np.nan, np.inf, -np.inf)
N_FINITE = 20
FLAGS = {
    "portable": ["-O2"],
    "native": ["-O3", "-march=native"],
    "avx2": ["-O3", AVX2_FLAG],
    "integers": ["-O2", "-DLILLIPUT_INTEGERS=1"],
    "soft floats": ["-O2", "-DSCALAR", "-DLILLIPUT_SOFT_FLOATS=1", "-DLILLIPUT_INTEGERS=0"],
}


def policy_of(kind: str, form: Form, *, selects: bool, n: int = 19) -> Policy:
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (64, n)).astype(np.float32)
    stack: list[layers.Layer] = [layers.SelectInputs(np.arange(0, n, 2, dtype=np.uint16))] if selects else []
    for layer in stack:
        x = reference.apply(layer, x)
    one = np.float32(1)
    stack.append(layers.Standardize(np.zeros((), np.float32), np.asarray(one), np.asarray(one * 5)))
    for width in (16, 5):
        for layer in (random_linear(x, form, rng, outputs=width, bits=(8, 8)), layers.Relu()):
            stack.append(layer)
            x = reference.apply(layer, x)
    low, high = np.full(n, -np.inf), np.full(n, np.inf)
    space = spaces.Box((n,), low, high)
    match kind:
        case "box":
            bounds = np.full(5, -1.0), np.full(5, 1.0)
            return Policy(space, spaces.Box((5,), *bounds), (*stack[:-1], layers.SquashAction()))
        case "discrete":
            return Policy(space, spaces.Discrete(5), (*stack[:-1], layers.ArgmaxAction((5,))))
        case _:
            return Policy(space, spaces.MultiDiscrete((2, 3)), (*stack[:-1], layers.ArgmaxAction((2, 3))))


def observations(n: int = 19) -> np.ndarray:
    """Some that are finite, then each bad number alone at each place, then two infinities that would cancel."""
    rng = np.random.default_rng(1)
    x = rng.normal(0, 1, (N_FINITE + 3 * n + 1, n)).astype(np.float32)
    for row, (place, bad) in enumerate(itertools.product(range(n), BAD), N_FINITE):
        x[row, place] = bad
    x[-1, :4:2] = np.inf, -np.inf
    return x


@pytest.mark.parametrize(
    ("kind", "form", "selects"),
    [  # each with each of another column
        ("box", "float32", False), ("box", "static", True), ("box", "dynamic", False), ("discrete", "float32", True),
        ("discrete", "static", False), ("discrete", "dynamic", True), ("multi", "float32", False),
        ("multi", "static", True), ("multi", "dynamic", False),
    ],
)  # fmt: skip
def test_reference_onnx_and_c_answer_alike(kind: str, form: Form, selects: bool, tmp_path: Path) -> None:
    policy = policy_of(kind, form, selects=selects)
    x = observations()
    expected = reference.act(policy, x)
    read = x[:, ::2] if selects else x
    undecided = ~np.isfinite(read).all(axis=1)
    assert 20 < undecided.sum() < len(x)
    if policy.is_discrete:
        assert not expected[undecided].any()
        assert expected[~undecided].any()
    else:
        assert np.isnan(expected[undecided]).all()
        assert np.isfinite(expected[~undecided]).all()
    for format_ in ("onnx", "c"):
        act = open_artifact(export(policy, format_, tmp_path / format_).folder)
        for found in (np.array([act(row) for row in x]), act.batch(x)):
            np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize(("kind", "flags"), [("discrete", "portable"), *itertools.product(["box", "multi"], FLAGS)])
def test_c_says_that_it_did_not_decide(kind: str, flags: str, tmp_path: Path) -> None:
    skip_avx2_where_it_is_not_or_native(FLAGS[flags], tmp_path)
    policy, x = policy_of(kind, "static", selects=False), observations()
    folder = export(policy, "c", tmp_path / "out", name="pilot").folder
    command = ["gcc", "-std=c99", "-ffp-contract=off", *FLAGS[flags], "-shared", "-fPIC"]
    compiled([*command, "pilot.c", "-lm", "-o", "p.so"], folder).check_returncode()
    decide = ctypes.CDLL(str(folder / "p.so")).pilot_act
    for row, expected in zip(x, reference.act(policy, x), strict=True):
        action = np.full(expected.size, 7, np.int32 if policy.is_discrete else np.float32)
        status = decide(row.ctypes.data_as(ctypes.c_void_p), action.ctypes.data_as(ctypes.c_void_p))
        assert status == int(not np.isfinite(row).all())
        np.testing.assert_allclose(action.reshape(expected.shape), expected, rtol=0, atol=2e-5)
