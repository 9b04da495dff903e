"""Trainings under VecNormalize, against the framework: which statistics their zips get, and where these stand."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from lilliput.errors import LilliputError
from lilliput.policies import reference
from lilliput.policies.load import load_policy

torch = pytest.importorskip("torch")
sb3 = pytest.importorskip("stable_baselines3")
contrib = pytest.importorskip("sb3_contrib")

from tests.policies.load.frameworks import (  # noqa: E402
    ACTIONS,
    Still,
    assert_same_actions,
    observations,
    predicted,
    save,
    shaken,
    vector,
)

pytestmark = [pytest.mark.frameworks, pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]


@pytest.fixture(autouse=True)
def same_networks() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("algorithm", ["PPO", "SAC", "TD3", "DQN", "TQC"])
def test_normalized_training_is_known_from_its_zip(algorithm: str, tmp_path: Path) -> None:
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    cls = getattr(sb3, algorithm, None) or getattr(contrib, algorithm)
    name = "Acrobot-v1" if algorithm == "DQN" else "Pendulum-v1"
    options = {"n_steps": 64, "batch_size": 64} if algorithm == "PPO" else {"learning_starts": 100}

    def trained(folder: str, **normalizer: Any) -> Any:
        (tmp_path / folder).mkdir()
        environment: Any = DummyVecEnv([lambda: gymnasium.make(name)])
        environment = VecNormalize(environment, **normalizer) if normalizer else environment
        model = cls("MlpPolicy", environment, seed=0, device="cpu", **options)
        model.learn(128)
        if normalizer:
            environment.save(str(tmp_path / folder / "vec_normalize.pkl"))
        save(shaken(model), tmp_path / folder)
        return model, environment

    model, environment = trained("normalized", norm_obs=True)
    policy = load_policy(tmp_path / "normalized" / "model.zip")
    raw = observations(model.observation_space, n=200)
    environment.training = False
    expected = predicted(model, environment.normalize_obs(raw))
    assert_same_actions(reference.act(policy, raw), expected, model.action_space)
    assert not any("another moment" in guess or "though it saw" in guess for guess in policy.provenance.guesses)
    (tmp_path / "alone").mkdir()
    alone = save(model, tmp_path / "alone")
    if algorithm == "PPO":
        with pytest.raises(LilliputError, match="was trained under VecNormalize"):
            load_policy(alone)
    # A stray file: the plain run's zip beside the statistics of the normalized one.
    plain, _ = trained("plain")
    (tmp_path / "plain" / "vec_normalize.pkl").write_bytes((tmp_path / "normalized/vec_normalize.pkl").read_bytes())
    beside = tmp_path / "plain" / "model.zip"
    if algorithm == "PPO":
        loaded = load_policy(beside)
        assert any("vec_normalize.pkl is not taken" in guess for guess in loaded.provenance.guesses)
    else:
        with pytest.raises(LilliputError, match="cannot be its observation statistics"):
            load_policy(beside)
        loaded = load_policy(beside, normalizer=False)
    assert_same_actions(reference.act(loaded, raw), predicted(plain, raw), plain.action_space)
    rewards, _ = trained("rewards", norm_obs=False)
    same = load_policy(tmp_path / "rewards" / "model.zip", normalizer=None)
    assert_same_actions(reference.act(same, raw), predicted(rewards, raw), rewards.action_space)


def test_the_statistics_of_a_dict_are_proven_too(tmp_path: Path) -> None:
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    space = spaces.Dict({"z": spaces.Box(-1, 1, (3,)), "a": spaces.Box(2, 9, (2,))})
    environment = VecNormalize(DummyVecEnv([lambda: Still(space, ACTIONS)]), norm_obs_keys=["a"])
    model = sb3.SAC("MultiInputPolicy", environment, seed=0, device="cpu", learning_starts=100, buffer_size=200)
    model.learn(60)
    path = save(model, tmp_path)
    environment.save(str(tmp_path / "vec_normalize.pkl"))
    policy = load_policy(path)
    raw = {key: observations(inner, n=100) for key, inner in space.spaces.items()}
    environment.training = False
    expected = predicted(model, environment.normalize_obs(raw))
    assert_same_actions(reference.act(policy, raw), expected, ACTIONS)
    other = VecNormalize(DummyVecEnv([lambda: Still(spaces.Dict({"z": vector(3), "a": vector(2)}), ACTIONS)]))
    other.reset()
    other.save(str(tmp_path / "vec_normalize.pkl"))
    with pytest.raises(LilliputError, match="cannot be its observation statistics"):
        load_policy(path)


@pytest.mark.parametrize("layout", ["rl-zoo", "beside", "given"])
def test_statistics_under_a_frame_stack_stand_before_it(layout: str, tmp_path: Path) -> None:
    from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize

    inner = VecNormalize(DummyVecEnv([lambda: Still(vector(), ACTIONS)]), norm_reward=False, clip_obs=1.5)
    environment = VecFrameStack(inner, 3)
    model = shaken(sb3.PPO("MlpPolicy", environment, n_steps=64, batch_size=64, device="cpu", seed=0))
    model.learn(64)
    path = save(model, tmp_path, "Still-v0")
    folder = tmp_path / "Still-v0" if layout == "rl-zoo" else tmp_path
    folder.mkdir(exist_ok=True)
    inner.save(str(folder / "vecnormalize.pkl"))
    with pytest.raises(LilliputError, match=r"\[5\]; the policy's observation has \[15\]; if .*frame_stack\(3\)"):
        load_policy(path, normalizer=folder / "vecnormalize.pkl")
    options: dict[str, Any] = {}
    if layout == "rl-zoo":
        (folder / "config.yml").write_text("frame_stack: 3\nnormalize: true\n")
    else:
        with pytest.raises(LilliputError, match="was trained under VecNormalize" if layout == "beside" else ""):
            load_policy(path)
        options = {"wrappers": ["frame_stack(3)"]}
    if layout == "given":
        options["normalizer"] = folder / "vecnormalize.pkl"
    policy = load_policy(path, **options)
    assert policy.provenance.wrappers == ()
    assert any("stacked inside the policy" in guess for guess in policy.provenance.guesses)
    inner.training = False
    seen: Any = environment.reset()
    raw, wanted = [], []
    for _ in range(20):
        raw.append(np.asarray(inner.get_original_obs())[0])
        action = model.predict(seen, deterministic=True)[0]
        wanted.append(action[0])
        seen = environment.step(action)[0]
    np.testing.assert_allclose(reference.act_episode(policy, np.array(raw)), np.array(wanted), atol=1e-5)
    assert np.std(wanted, axis=0).min() > 1e-3
