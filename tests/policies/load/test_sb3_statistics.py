"""Which observation statistics a Stable-Baselines3 zip gets: its own, or none, or a refusal; never another run's."""

import base64
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.policies.load.checkpoints import source
from tests.policies.load.frameworks import rewrite_zip

from lilliput.errors import LilliputError
from lilliput.policies import layers
from lilliput.policies.load import load_policy
from lilliput.policies.load.sb3_statistics import UNKNOWN

RNG = np.random.default_rng(0)
RAW = RNG.normal(size=(1, 4))
MEAN, VAR = np.array([1.0, -2.0, 3.0, 0.5]), np.array([4.0, 0.25, 9.0, 1.0])
SEEN = ((RAW - MEAN) / np.sqrt(VAR)).astype(np.float32)
"""What the policy was given for RAW under those statistics."""


def pickled(value: Any) -> dict[str, Any]:
    return {":type:": "<class 'numpy.ndarray'>", ":serialized:": base64.b64encode(pickle.dumps(value)).decode()}


def checkpoint(folder: Path, name: str, fixture: str, raw: Any, seen: Any, n_steps: int = 1000, **more: Any) -> Path:
    """A committed zip whose data say that training ended so."""
    with zipfile.ZipFile(source(fixture)) as archive:
        data = json.loads(archive.read("data"))
    for key, value in (("_last_original_obs", raw), ("_last_obs", seen)):
        data[key] = None if value is None else pickled(value)
    data |= {"num_timesteps": n_steps, **more}
    return rewrite_zip(source(fixture), folder / name, {"data": json.dumps(data).encode()})


def statistics(path: Path, mean: np.ndarray = MEAN, var: np.ndarray = VAR, count: float = 1001.0) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps({"mean": mean, "var": var, "count": count}))
    return path


def mean_of(path: Path, **options: Any) -> list[float] | None:
    """The mean that the policy subtracts; None where it takes observations as they are."""
    first = load_policy(path, **options).layers[0]
    return first.mean.tolist() if isinstance(first, layers.Standardize) else None


def said(path: Path) -> str:
    return "\n".join(load_policy(path).provenance.guesses)


NORMALIZED = ("ppo", RAW, SEEN)
PLAIN = ("ppo", None, RAW.astype(np.float32))
OFF_POLICY_NORMALIZED = ("td3", RAW.astype(np.float32), SEEN)
OFF_POLICY = ("td3", RAW.astype(np.float32), RAW.astype(np.float32) + np.float32(0.01))


@pytest.mark.parametrize(
    "name", ["vec_normalize.pkl", "vecnormalize.pkl", "run_vecnormalize.pkl", "other_vecnormalize.pkl",
             "rl_model_vecnormalize_1000_steps.pkl", "../vec_normalize.pkl", "../run_vecnormalize.pkl",
             "../rl_model_vecnormalize_1000_steps.pkl"],
)  # fmt: skip
@pytest.mark.parametrize("kind", [NORMALIZED, OFF_POLICY_NORMALIZED], ids=["on-policy", "off-policy"])
def test_statistics_are_found_under_every_documented_name(kind: Any, name: str, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    path = checkpoint(tmp_path / "run", "run.zip", *kind)
    statistics(tmp_path / "run" / name)
    assert mean_of(path) == MEAN.tolist()
    assert f"those of {name.replace('..', tmp_path.name)}, found beside the zip" in said(path)


def test_a_checkpoint_takes_the_statistics_of_its_own_steps(tmp_path: Path) -> None:
    for steps in (500, 1000, 1500):
        checkpoint(tmp_path, f"rl_model_{steps}_steps.zip", *NORMALIZED, n_steps=steps)
        statistics(tmp_path / f"rl_model_vecnormalize_{steps}_steps.pkl", MEAN + steps, count=steps + 1)
        statistics(tmp_path / f"aa_vecnormalize_{steps}_steps.pkl", MEAN - steps, count=steps + 1)
    statistics(tmp_path / "vec_normalize.pkl", MEAN, count=1501)
    for steps in (500, 1000, 1500):
        assert mean_of(tmp_path / f"rl_model_{steps}_steps.zip") == (MEAN + steps).tolist()
    final = checkpoint(tmp_path, "final.zip", *NORMALIZED, n_steps=1500)
    assert mean_of(final) == MEAN.tolist()


def test_the_statistics_of_other_steps_are_not_a_checkpoint_s(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, "rl_model_500_steps.zip", *NORMALIZED, n_steps=500)
    statistics(tmp_path / "rl_model_vecnormalize_1000_steps.pkl")
    with pytest.raises(LilliputError, match=r"was trained under VecNormalize.*--normalizer FILE, or --no-normalizer"):
        load_policy(path)
    statistics(tmp_path / "vec_normalize.pkl", count=100_001)
    assert "though it saw 100,001 observations and the policy was trained for 500 steps" in said(path)


@pytest.mark.parametrize("kind", [NORMALIZED, ("td3", RAW, SEEN)], ids=["on-policy", "off-policy"])
def test_a_policy_of_normalized_observations_is_refused_without_them(kind: Any, tmp_path: Path) -> None:
    path = checkpoint(tmp_path, "run.zip", *kind)
    with pytest.raises(LilliputError, match=r"'run.zip' was trained under VecNormalize.*not beside it") as caught:
        load_policy(path)
    assert "\n" not in str(caught.value)
    assert mean_of(path, normalizer=False) is None
    assert mean_of(path, normalizer=statistics(tmp_path / "elsewhere.pkl")) == MEAN.tolist()


def test_statistics_of_another_shape_are_not_taken(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, "run.zip", *NORMALIZED)
    statistics(tmp_path / "vec_normalize.pkl", np.zeros(3), np.ones(3))
    with pytest.raises(LilliputError, match=r"vec_normalize.pkl is not taken: it holds statistics of shape \[3\]"):
        load_policy(path)
    (tmp_path / "zoo_vecnormalize.pkl").write_bytes(b"\x80\x04N.")
    statistics(tmp_path / "run_vecnormalize.pkl")
    assert mean_of(path) == MEAN.tolist()


@pytest.mark.parametrize(
    "kind",
    [PLAIN, ("td3", RAW, RAW + 0.01), ("td3", RAW.astype(np.float32), RAW.astype(np.float32))],
    ids=["on-policy", "float64 throughout", "norm_obs=False"],
)
@pytest.mark.parametrize("name", ["vec_normalize.pkl", "run_vecnormalize.pkl", "../vecnormalize.pkl"])
def test_a_stray_file_is_not_taken_where_the_zip_tells(kind: Any, name: str, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    path = checkpoint(tmp_path / "run", "run.zip", *kind)
    assert UNKNOWN not in said(path)
    stray = statistics(tmp_path / "run" / name)
    assert mean_of(path) is None
    assert "is not taken: the zip's own data say that its observations were not normalized" in said(path)
    assert mean_of(path, normalizer=stray) == MEAN.tolist(), "but --normalizer takes it"


def test_an_off_policy_zip_proves_or_contradicts_the_file_beside_it(tmp_path: Path) -> None:
    own = checkpoint(tmp_path, "own.zip", *OFF_POLICY_NORMALIZED)
    other = checkpoint(tmp_path, "other.zip", *OFF_POLICY)
    file = statistics(tmp_path / "vec_normalize.pkl")
    assert mean_of(own) == MEAN.tolist()
    with pytest.raises(LilliputError, match=r"vec_normalize.pkl cannot be its observation statistics: they put its"):
        load_policy(other)
    assert mean_of(other, normalizer=False) is None
    statistics(file, MEAN + 0.1, VAR)
    assert "from another moment of the training (0.1" in said(own)
    statistics(tmp_path / "vecnormalize.pkl")
    assert mean_of(own) == MEAN.tolist(), "of two that are close, the one that is exact"


def test_two_files_that_could_be_are_not_chosen_between(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, "run.zip", *NORMALIZED)
    statistics(tmp_path / "vec_normalize.pkl")
    statistics(tmp_path / "vecnormalize.pkl")
    assert mean_of(path) == MEAN.tolist(), "they are the same"
    statistics(tmp_path / "vecnormalize.pkl", MEAN + 1)
    with pytest.raises(LilliputError, match=r"could be vec_normalize.pkl or vecnormalize.pkl, which differ"):
        load_policy(path)
    statistics(tmp_path / "run_vecnormalize.pkl", MEAN + 2)
    assert mean_of(path) == (MEAN + 2).tolist(), "the one with the zip's own name"


@pytest.mark.parametrize(
    "kind", [("td3", None, None), ("ppo", None, None), OFF_POLICY], ids=["untrained", "no data", "off-policy"]
)
def test_what_cannot_be_known_is_said(kind: Any, tmp_path: Path) -> None:
    path = checkpoint(tmp_path, "run.zip", *kind)
    assert mean_of(path) is None
    assert UNKNOWN in said(path)
    assert UNKNOWN not in load_policy(path, normalizer=False).provenance.guesses


def test_what_leaves_the_bounds_of_the_space_was_normalized(tmp_path: Path) -> None:
    raw = RAW.astype(np.float32)
    inside, outside = (np.full((1, 4), value, np.float32) for value in (0.5, -3.0))
    with zipfile.ZipFile(source("td3")) as archive:
        space = json.loads(archive.read("data"))["observation_space"]
    del space[":serialized:"]
    space |= {"low": "[-1. -1. -1. -1.]", "high": "[1. 1. 1. 1.]"}
    path = checkpoint(tmp_path, "run.zip", "td3", inside, outside, observation_space=space)
    with pytest.raises(LilliputError, match="was trained under VecNormalize"):
        load_policy(path)
    assert raw.shape == (1, 4)
    assert UNKNOWN in said(checkpoint(tmp_path, "both.zip", "td3", outside, outside + 1, observation_space=space))


def test_a_raw_observation_that_cannot_be_read_is_one_all_the_same(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, "run.zip", "ppo", object, SEEN)
    with pytest.raises(LilliputError, match="was trained under VecNormalize"):
        load_policy(path)


def test_an_rl_zoo_configuration_that_contradicts_the_zip_is_refused(tmp_path: Path) -> None:
    inner = tmp_path / "run"
    inner.mkdir()
    statistics(inner / "vecnormalize.pkl")
    for config, kind, message in (
        ("normalize: false", NORMALIZED, "config.yml says that nothing was normalized, the zip's own data"),
        ("normalize: true", PLAIN, "config.yml says that observations were normalized, the zip's own data"),
    ):
        (inner / "config.yml").write_text(config)
        with pytest.raises(LilliputError, match=message):
            load_policy(checkpoint(tmp_path, "run.zip", *kind))
    (inner / "config.yml").write_text("normalize: '{norm_obs: False}'")
    assert mean_of(checkpoint(tmp_path, "run.zip", *NORMALIZED)) is None
    (inner / "config.yml").write_text("normalize: true")
    assert mean_of(tmp_path / "run.zip") == MEAN.tolist()


@pytest.mark.parametrize(
    "damaged",
    [
        {"num_timesteps": 10**400},
        {"num_timesteps": "many"},
        {"_last_obs": {":serialized:": "%"}},
        {"_last_obs": [1, 2]},
        {"_last_original_obs": pickled(np.array([[np.nan] * 4]))},
        {"_last_obs": pickled({"key": RAW})},
        {"_last_obs": pickled(np.zeros((0, 4)))},
        {"_last_obs": pickled(np.zeros((2, 9), np.float32))},
        {"_last_obs": pickled(np.array("text"))},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [NORMALIZED, PLAIN, OFF_POLICY, OFF_POLICY_NORMALIZED])
def test_damaged_traces_end_in_a_policy_or_in_one_line(kind: Any, damaged: dict[str, Any], tmp_path: Path) -> None:
    path = checkpoint(tmp_path, "run.zip", *kind, **damaged)
    said: list[str] = []
    for _ in range(2):
        try:
            load_policy(path)
        except LilliputError as error:
            said.append(str(error))
        statistics(tmp_path / "vec_normalize.pkl")
    assert "\n" not in "".join(said)
