"""Observation statistics from every kind of file, and what cannot be statistics."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.policies.load.checkpoints import FOLDER

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference, spaces
from lilliput.policies.load.vecnormalize import Normalizer, RunningStatistics, read_normalizer, standardize

SAVED = (FOLDER / "vecnormalize.pkl").read_bytes()
VECTOR = spaces.Box((4,), np.asarray(-np.inf), np.asarray(np.inf))


class RunningMeanStd:
    """Has the attributes of the frameworks' class of that name."""

    def __init__(self, mean: np.ndarray, var: np.ndarray) -> None:
        self.mean, self.var, self.count = mean, var, 1e-4


class VecNormalize:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


def saved(**attributes: Any) -> bytes:
    usual = {"obs_rms": RunningMeanStd(np.zeros(4), np.ones(4)), "epsilon": 1e-8, "clip_obs": 10.0, "norm_obs": True}
    return renamed(
        pickle.dumps(VecNormalize(**{**usual, **attributes}), 2), "stable_baselines3.common.vec_env", "VecNormalize"
    )


def renamed(data: bytes, module: str, kind: str) -> bytes:
    """A pickle of protocol 2 with another class in the place of this module's VecNormalize."""
    return data.replace(f"c{__name__}\nVecNormalize\n".encode(), f"c{module}\n{kind}\n".encode())


def applied(layer: layers.Standardize, x: np.ndarray) -> np.ndarray:
    return reference.apply(layer, x.astype(np.float32))


def test_the_framework_s_own_file() -> None:
    normalizer = read_normalizer(SAVED, "x")
    assert isinstance(normalizer.statistics, RunningStatistics)
    assert normalizer.statistics.mean.shape == (4,)
    assert (normalizer.clip_obs, normalizer.epsilon, normalizer.norm_obs) == (2.0, 1e-8, True)
    assert not normalizer.guesses


def test_the_layer_is_the_framework_s_formula() -> None:
    rng = np.random.default_rng(0)
    mean, var = rng.normal(size=4), rng.uniform(1e-3, 9, size=4)
    layer = standardize(Normalizer(RunningStatistics(mean, var), 0.01, 3.0), VECTOR, "x")
    assert layer is not None
    x = rng.normal(size=(500, 4)) * 10
    expected = np.clip((x - mean) / np.sqrt(var + 0.01), -3.0, 3.0)
    np.testing.assert_allclose(applied(layer, x), expected, atol=1e-4)


@pytest.mark.parametrize("protocol", [2, 5])
def test_a_class_that_is_not_the_framework_s_is_refused_by_name(protocol: int) -> None:
    own = pickle.dumps(VecNormalize(obs_rms=RunningMeanStd(np.zeros(4), np.ones(4)), norm_obs=True), protocol)
    with pytest.raises(LilliputError, match=r"class '[\w.]*VecNormalize', which is not the framework's"):
        read_normalizer(own, "x.pkl")
    theirs = renamed(pickle.dumps(VecNormalize(obs_rms=RunningMeanStd(np.zeros(4), np.ones(4))), 2), "mine", "Clipped")
    with pytest.raises(LilliputError, match=r"class 'mine\.Clipped'.*\.npz or \.json"):
        read_normalizer(theirs, "x.pkl")


def test_a_normalizer_with_code_set_on_it_is_refused() -> None:
    with pytest.raises(LilliputError, match=r"has a 'normalize_obs' of its own"):
        read_normalizer(saved(normalize_obs=np.tanh), "x.pkl")


def test_what_was_set_on_a_normalizer_or_its_statistics_is_said_or_refused() -> None:
    assert not read_normalizer(saved(training=False, ret_rms=None), "x").guesses
    (said,) = read_normalizer(saved(obs_gain=3.0, training=False), "x").guesses
    assert said == "the normalizer holds obs_gain, which VecNormalize does not and which is not read"
    odd = RunningMeanStd(np.zeros(4), np.ones(4))
    odd.__dict__["shrink"] = 0.5
    with pytest.raises(LilliputError, match="holds statistics with shrink, which the framework's do not have"):
        read_normalizer(saved(obs_rms=odd), "x")


def test_keys_that_are_not_normalized_stay_as_they_are() -> None:
    space = spaces.Dict((("a", VECTOR), ("b", spaces.Box((2, 2), np.asarray(-9.0), np.asarray(9.0)))))
    rng = np.random.default_rng(0)
    mean, var = rng.normal(size=(2, 2)), rng.uniform(1, 9, size=(2, 2))
    both = {"a": RunningMeanStd(np.ones(4), np.ones(4)), "b": RunningMeanStd(mean, var)}
    for data in (saved(obs_rms=both, norm_obs_keys=["b"]), saved(obs_rms={"b": both["b"]}, norm_obs_keys=["b"])):
        layer = standardize(read_normalizer(data, "x"), space, "x")
        assert layer is not None
        x = rng.normal(size=(50, 8)) * 100
        actual = applied(layer, x)
        np.testing.assert_allclose(actual[:, :4], x[:, :4], rtol=1e-6)
        expected = np.clip((x[:, 4:].reshape(-1, 2, 2) - mean) / np.sqrt(var + 1e-8), -10, 10)
        np.testing.assert_allclose(actual[:, 4:], expected.reshape(-1, 4), atol=1e-4)


def test_norm_obs_false_needs_no_layer() -> None:
    normalizer = read_normalizer(saved(norm_obs=False, obs_rms=None), "x")
    assert standardize(normalizer, VECTOR, "x") is None


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps({"mean": np.arange(4.0), "var": np.ones(4)}),
        pickle.dumps(RunningMeanStd(np.arange(4.0), np.ones(4))),
        json.dumps({"mean": [0, 1, 2, 3], "var": [1, 1, 1, 1]}).encode(),
    ],
)
def test_mean_and_var_alone_take_the_defaults_and_say_so(data: bytes) -> None:
    normalizer = read_normalizer(data, "x")
    assert isinstance(normalizer.statistics, RunningStatistics)
    np.testing.assert_array_equal(normalizer.statistics.mean, np.arange(4.0))
    assert (normalizer.epsilon, normalizer.clip_obs) == (1e-8, 10.0)
    assert len(normalizer.guesses) == 2


@pytest.mark.parametrize("off", [False, np.bool_(False), 0])
def test_observations_that_are_left_as_they_are_need_no_layer(off: Any) -> None:
    assert standardize(read_normalizer(saved(norm_obs=off), "x"), VECTOR, "x") is None
    assert standardize(read_normalizer(saved(norm_obs=np.bool_(True)), "x"), VECTOR, "x") is not None


def test_a_normalizer_that_does_not_clip() -> None:
    for data in (saved(clip_obs=np.inf), b'{"mean": [0, 0, 0, 0], "var": [1, 1, 1, 1], "clip": Infinity}'):
        layer = standardize(read_normalizer(data, "x"), VECTOR, "x")
        assert layer is not None
        np.testing.assert_array_equal(applied(layer, np.full((1, 4), 50.0)), np.full((1, 4), 50.0, np.float32))


def test_an_npz(tmp_path: Path) -> None:
    np.savez_compressed(
        tmp_path / "s.npz", mean=np.asfortranarray(np.arange(6.0).reshape(2, 3)), var=np.ones((2, 3), ">f4"), clip=5
    )
    normalizer = read_normalizer((tmp_path / "s.npz").read_bytes(), "x")
    assert isinstance(normalizer.statistics, RunningStatistics)
    np.testing.assert_array_equal(normalizer.statistics.mean, np.arange(6.0).reshape(2, 3))
    assert normalizer.clip_obs == 5.0


def npz(**arrays: Any) -> bytes:
    import io

    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def lying_npz() -> bytes:
    import io
    import zipfile

    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1152921504606846976,), }"
    body = b"\x93NUMPY\x01\x00" + len(header + b"\n").to_bytes(2, "little") + header + b"\n" + bytes(8)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("mean.npy", body)
        archive.writestr("var.npy", body)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (saved(obs_rms=RunningMeanStd(np.zeros(4), -np.ones(4))), "not finite or a negative variance"),
        (saved(obs_rms=RunningMeanStd(np.full(4, np.nan), np.ones(4))), "not finite or a negative variance"),
        (saved(obs_rms=RunningMeanStd(np.zeros(4), np.ones(3))), "the mean has the shape .* the variance"),
        (saved(obs_rms=None), "no running mean and variance"),
        (saved(epsilon=-1.0), "epsilon is '-1.0'; it must be a positive number"),
        (saved(clip_obs=0.0), "clip_obs is '0.0'; it must be a positive number"),
        (saved(clip_obs=np.ones(3)), "clip_obs is 3 numbers; it must be one"),
        (saved(clip_obs="wide"), "clip_obs is not an array of numbers"),
        (pickle.dumps({"weights": 1}), "something else than VecNormalize"),
        (json.dumps({"mean": [1]}).encode(), "has no mean and var"),
        (json.dumps({"mean": ["a"], "var": [1]}).encode(), "not JSON with lists of numbers"),
        (json.dumps({"mean": [1], "var": [1], "clip_obs": 5}).encode(), "holds 'clip_obs', which is not read; .*clip"),
        (json.dumps({"mean": [1], "std": [1]}).encode(), "holds 'std', which is not read; it needs mean and var"),
        (npz(mean=np.zeros(2), var=np.ones(2), eps=np.ones(())), "holds 'eps', which is not read"),
        (npz(mean=np.zeros(2), var=np.ones(2), std=np.ones(2)), "holds 'std', which is not read"),
        (pickle.dumps({"mean": np.zeros(2), "var": np.ones(2), "clip": 5.0}), "holds 'clip' beside mean and var"),
        (pickle.dumps({"mean": np.zeros(2), "var": np.ones(2), "std": np.ones(2)}), "holds 'std' beside mean and var"),
        (saved(norm_obs=np.array([True, False])), "norm_obs is 2 numbers; it must be one"),
        (saved(norm_obs="no"), "norm_obs is not an array of numbers"),
        (b'{"mean": ' + b"[" * 100_000, "not JSON with lists of numbers"),
        (npz(mean=np.zeros(2), var=np.array(["a", "b"])), "or no plain numbers"),
        (npz(mean=np.array([object()]), var=np.ones(1)), "'mean.npy' is damaged"),
        (lying_npz(), "'mean.npy' is damaged"),
        (b"hello", "is no observation normalizer; allowed: a VecNormalize pickle"),
        (b"", "is no observation normalizer"),
    ],
)
def test_what_cannot_be_statistics_is_refused_in_one_line(data: bytes, message: str) -> None:
    with pytest.raises(LilliputError, match=message) as caught:
        read_normalizer(data, "x")
    assert "\n" not in str(caught.value)


def test_statistics_that_do_not_fit_the_observation() -> None:
    space = spaces.Dict((("a", VECTOR),))
    by_key = Normalizer({"a": RunningStatistics(np.zeros(3), np.ones(3))})
    with pytest.raises(LilliputError, match=r"statistics of 'a' have the shape \[3\]; the observation's is \[4\]"):
        standardize(by_key, space, "x")
    with pytest.raises(LilliputError, match="statistics of the key 'z'; the policy's observation has a"):
        standardize(Normalizer({"z": RunningStatistics(np.zeros(3), np.ones(3))}), space, "x")
    with pytest.raises(LilliputError, match="statistics by key; the policy's observation is one array"):
        standardize(by_key, VECTOR, "x")
