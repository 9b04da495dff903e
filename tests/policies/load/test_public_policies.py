"""Every public policy acts as its framework says: the framework loads it with a `gym` alias, Lilliput without."""

import os
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lilliput.policies import layers, reference
from lilliput.policies.load import load_policy
from lilliput.policies.spaces import Box, Dict

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # what frameworks say of files of other versions is not our subject
]

N_OBSERVATIONS = 1000
FOLDER = Path(os.environ.get("LILLIPUT_POLICIES", ""))
RUNS = sorted(path.parent for path in FOLDER.glob("*/*_1/*.zip")) if os.environ.get("LILLIPUT_POLICIES") else []
MISSING = pytest.mark.skip(reason="LILLIPUT_POLICIES is not set: the public policies are not here")
EACH_RUN = [pytest.param(run, id=f"{run.parent.name}-{run.name}") for run in RUNS] or [
    pytest.param(None, marks=MISSING)
]


@pytest.fixture
def gym_alias(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pickles of old versions name gym.spaces, whose classes live on in gymnasium."""
    import gymnasium

    monkeypatch.setitem(sys.modules, "gym", gymnasium)
    for part in ("spaces", "spaces.box", "spaces.dict", "spaces.discrete", "spaces.space"):
        monkeypatch.setitem(sys.modules, f"gym.{part}", sys.modules[f"gymnasium.{part}"])


def framework_model(run: Path) -> Any:
    """The policy as its framework loads it; what only training needs is replaced."""
    sb3 = pytest.importorskip("stable_baselines3")
    contrib = pytest.importorskip("sb3_contrib")
    algorithms = {
        "a2c": sb3.A2C,
        "ppo": sb3.PPO,
        "sac": sb3.SAC,
        "td3": sb3.TD3,
        "ddpg": sb3.DDPG,
        "dqn": sb3.DQN,
        "qrdqn": contrib.QRDQN,
        "tqc": contrib.TQC,
        "trpo": contrib.TRPO,
        "ars": contrib.ARS,
    }
    unneeded = {"learning_rate": 0.0, "lr_schedule": lambda _: 0.0, "clip_range": lambda _: 0.0, "buffer_size": 1}
    unneeded |= {"exploration_schedule": lambda _: 0.0, "replay_buffer_class": None, "replay_buffer_kwargs": {}}
    return algorithms[run.parent.name].load(next(run.glob("*.zip")), device="cpu", custom_objects=unneeded)


def batch_of(box: Box, rng: np.random.Generator, statistics: Any) -> np.ndarray:
    """Raw observations: a third as in training, a third far out (so that the normalizer clips), a third normal."""
    noise = rng.normal(size=(N_OBSERVATIONS, *box.shape))
    if statistics is not None:
        # Inputs that never moved in training (Humanoid's masses) stay: float32 does not hold so little movement.
        deviation = np.sqrt(statistics.var)
        deviation = np.where(deviation > np.abs(statistics.mean) * 2.0**-16, deviation, 0.0)
        noise[::3] = noise[::3] * deviation + statistics.mean
        noise[1::3] = noise[1::3] * deviation * 8 + statistics.mean
    return np.clip(noise, np.maximum(box.low, -1e6), np.minimum(box.high, 1e6)).astype(box.dtype)


@pytest.mark.parametrize("run", EACH_RUN)
def test_a_public_policy_acts_as_its_framework_says(run: Path, gym_alias: None, record_property: Any) -> None:
    model = framework_model(run)
    pickled = next(run.glob("*/vecnormalize.pkl"), None)
    normalizer = pickle.loads(pickled.read_bytes()) if pickled else None
    policy = load_policy(run)
    assert isinstance(policy.layers[0], layers.Standardize) is (normalizer is not None)

    rng = np.random.default_rng(0)
    statistics = normalizer.obs_rms if normalizer else None
    match policy.observation_space:
        case Box() as box:
            batch: Any = batch_of(box, rng, statistics)
        case Dict(boxes=boxes):
            batch = {key: batch_of(box, rng, statistics[key] if statistics else None) for key, box in boxes}
    expected, _ = model.predict(normalizer.normalize_obs(batch) if normalizer else batch, deterministic=True)
    actual = reference.act(policy, batch)

    if policy.is_discrete:
        record_property("different choices", int((actual != expected).sum()))
        np.testing.assert_array_equal(actual, expected)
        assert len(np.unique(expected)) > 1
    else:
        span = model.action_space.high - model.action_space.low
        difference = float(np.max(np.abs(actual - expected) / span))
        record_property("largest difference over the range", difference)
        assert actual.shape == expected.shape
        assert difference <= 1e-4
        assert isinstance(policy.action_space, Box)
        np.testing.assert_array_equal(policy.action_space.low, model.action_space.low)
        assert np.ptp(expected, axis=0).min() > 0


@pytest.mark.parametrize("run", EACH_RUN)
def test_the_zip_the_run_and_the_inner_folder_are_one_policy(run: Path) -> None:
    zipped = next(run.glob("*.zip"))
    policy = load_policy(zipped)
    assert load_policy(run).digest == policy.digest
    assert load_policy(run / zipped.stem).digest == policy.digest
    assert policy.provenance.environment == zipped.stem
    assert policy.provenance.source == zipped.name
