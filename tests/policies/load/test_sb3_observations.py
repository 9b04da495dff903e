"""What policies of Stable-Baselines3 see: images as the framework turns and scales them, matrices, dicts."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference
from lilliput.policies import spaces as ours
from lilliput.policies.load import load_policy

torch = pytest.importorskip("torch")
sb3 = pytest.importorskip("stable_baselines3")
contrib = pytest.importorskip("sb3_contrib")

from tests.policies.load.frameworks import (  # noqa: E402
    ACTIONS,
    DISCRETE,
    IMAGE,
    SHORT,
    Still,
    assert_same_actions,
    check,
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


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("algorithm", ["PPO", "DQN", "QRDQN", "SAC", "TD3"])
def test_nature_cnn(algorithm: str, share: bool, tmp_path: Path) -> None:
    cls = getattr(sb3, algorithm, None) or getattr(contrib, algorithm)
    discrete = algorithm in ("DQN", "QRDQN")
    kwargs: dict[str, Any] = {"features_extractor_kwargs": {"features_dim": 32}}
    if not discrete:
        kwargs["share_features_extractor"] = share
    options = {"n_steps": 8} if algorithm == "PPO" else SHORT
    model = cls(
        "CnnPolicy", Still(IMAGE, DISCRETE if discrete else ACTIONS), policy_kwargs=kwargs, device="cpu", **options
    )
    shaken(model)
    policy = load_policy(save(model, tmp_path))
    assert ours.input_shape(policy.observation_space) == (3, 36, 40)
    assert policy.provenance.wrappers == ("transpose_image",)
    batch = observations(model.observation_space, n=40)
    assert_same_actions(reference.act(policy, batch), predicted(model, batch), model.action_space)


class Pictures(gymnasium.Env):
    """Images of which one stripe is bright; the reward is for its number."""

    def __init__(self, shape: tuple[int, ...] = (4, 36, 40), axis: int = 2) -> None:
        self.observation_space = spaces.Box(0, 255, shape, np.uint8)
        self.action_space = spaces.Discrete(3)
        self.axis = axis

    def picture(self) -> np.ndarray:
        self.stripe = int(self.np_random.integers(3))
        image = self.np_random.integers(0, 50, self.observation_space.shape).astype(np.uint8)
        width = image.shape[self.axis] // 3
        np.moveaxis(image, self.axis, 0)[self.stripe * width : (self.stripe + 1) * width] += 150
        return image

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.n = 0
        return self.picture(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        reward = float(action == self.stripe)
        self.n += 1
        return self.picture(), reward, False, self.n >= 20, {}


@pytest.mark.parametrize(
    ("shape", "axis", "wrappers"),
    [
        ((4, 36, 40), 2, ("transpose_image",)),
        ((36, 40, 4), 1, ("transpose_image",)),
        ((40, 4, 36), 0, ("transpose_image",)),
        ((6, 6, 6), 0, ()),
        ((4, 4, 36), 2, ()),
        ((4, 36, 4), 1, ("transpose_image",)),
        ((12, 12, 9), 2, ("transpose_image",)),
    ],
    ids=str,
)
def test_images_are_transposed_where_the_framework_did(
    shape: tuple[int, ...], axis: int, wrappers: tuple[str, ...], tmp_path: Path
) -> None:
    from lilliput.policies.play import episode_returns

    gymnasium.register("Pictures-v0", lambda **kwargs: Pictures(**kwargs))
    try:
        model = shaken(sb3.PPO("MlpPolicy", Pictures(shape, axis), n_steps=20, batch_size=20, seed=0, device="cpu"))
        policy = load_policy(save(model, tmp_path))
        assert policy.provenance.wrappers == wrappers
        kwargs = {"shape": shape, "axis": axis}
        told = load_policy(tmp_path / "model.zip", environment="Pictures-v0", environment_kwargs=kwargs)
        assert told.provenance.wrappers == (wrappers if model.observation_space.shape != shape else ())
        assert not any("channels last" in guess for guess in told.provenance.guesses) or told.provenance.wrappers
        ours = episode_returns(policy, "Pictures-v0", range(5), environment_kwargs=kwargs)
        theirs, environment = [], Pictures(shape, axis)
        turned = model.observation_space.shape != shape
        for seed in range(5):
            seen, total, over = environment.reset(seed=seed)[0], 0.0, False
            while not over:
                batch = np.transpose(seen, (2, 0, 1)) if turned else seen
                seen, reward, _, over, _ = environment.step(int(model.predict(batch, deterministic=True)[0]))
                total += reward
            theirs.append(total)
        np.testing.assert_array_equal(ours, theirs)
        assert len(set(theirs)) > 1
    finally:
        del gymnasium.registry["Pictures-v0"]


def test_the_channels_of_an_atari_game_are_known(tmp_path: Path) -> None:
    model = sb3.PPO("CnnPolicy", Still(spaces.Box(0, 255, (84, 84, 4), np.uint8), DISCRETE), n_steps=8, device="cpu")
    path = save(model, tmp_path)
    assert any("channels last" in guess for guess in load_policy(path).provenance.guesses)
    (tmp_path / "model").mkdir()
    config = "env_wrapper: stable_baselines3.common.atari_wrappers.AtariWrapper\nframe_stack: 4\n"
    (tmp_path / "model" / "config.yml").write_text(config)
    policy = load_policy(path)
    assert policy.provenance.wrappers == ("atari", "frame_stack", "transpose_image")
    assert not any("channels last" in guess for guess in policy.provenance.guesses)


def test_images_already_scaled_are_not_divided_again(tmp_path: Path) -> None:
    space = spaces.Box(0, 255, (3, 40, 36), np.uint8)
    kwargs = {"normalize_images": False, "features_extractor_kwargs": {"features_dim": 16, "normalized_image": True}}
    model = shaken(sb3.PPO("CnnPolicy", Still(space, DISCRETE), n_steps=8, policy_kwargs=kwargs, device="cpu"))
    policy = load_policy(save(model, tmp_path))
    assert isinstance(policy.layers[0], layers.Conv2d)
    batch = observations(space, n=40)
    assert_same_actions(reference.act(policy, batch), predicted(model, batch), DISCRETE)


def test_an_image_through_an_mlp_is_divided_and_flattened(tmp_path: Path) -> None:
    space = spaces.Box(0, 255, (3, 8, 8), np.uint8)
    check(sb3.PPO("MlpPolicy", Still(space, DISCRETE), n_steps=8, device="cpu"), tmp_path)


def test_a_matrix_observation_is_flattened(tmp_path: Path) -> None:
    check(sb3.PPO("MlpPolicy", Still(spaces.Box(-1, 1, (3, 4)), ACTIONS), n_steps=8, device="cpu"), tmp_path)


@pytest.mark.parametrize("algorithm", ["PPO", "SAC", "DQN"])
def test_dict_observations_are_concatenated_as_the_framework_does(algorithm: str, tmp_path: Path) -> None:
    space = spaces.Dict({"z": vector(3), "a": vector(2), "m": spaces.Box(-1, 1, (2, 2))})
    options = {"n_steps": 8} if algorithm == "PPO" else SHORT
    action_space = DISCRETE if algorithm == "DQN" else ACTIONS
    policy = check(
        getattr(sb3, algorithm)("MultiInputPolicy", Still(space, action_space), device="cpu", **options), tmp_path
    )
    assert isinstance(policy.observation_space, ours.Dict)
    assert [key for key, _ in policy.observation_space.boxes] == list(space.spaces)


class Telling(Still):
    """Remembers what it has shown."""

    def __init__(self, observation_space: spaces.Space, action_space: spaces.Space) -> None:
        super().__init__(observation_space, action_space)
        self.shown: list[Any] = []

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        seen, *rest = super().step(action)
        self.shown.append(seen)
        return (seen, *rest)  # type: ignore[return-value]


CHOICES = [
    (spaces.Discrete(16), ("one_hot",)),
    (spaces.Discrete(1), ("one_hot",)),
    (spaces.MultiDiscrete([3, 1, 4]), ("one_hot",)),
    (spaces.MultiBinary(5), ()),
    (spaces.MultiBinary([2, 3]), ()),
    (spaces.Dict({"z": spaces.Discrete(4), "a": vector(2), "m": spaces.MultiDiscrete([2, 3])}), ("one_hot",)),
    (spaces.Dict({"z": spaces.MultiBinary(4), "a": vector(2)}), ()),
]


@pytest.mark.parametrize("algorithm", ["PPO", "SAC", "DQN"])
@pytest.mark.parametrize(("space", "wrappers"), CHOICES, ids=str)
def test_choices_reach_the_network_as_the_framework_shows_them(
    algorithm: str, space: spaces.Space, wrappers: tuple[str, ...], tmp_path: Path
) -> None:
    from stable_baselines3.common.preprocessing import preprocess_obs

    from lilliput.policies.play import make_environment
    from lilliput.policies.play.boundary import observer

    kind = "MultiInputPolicy" if isinstance(space, spaces.Dict) else "MlpPolicy"
    action_space = DISCRETE if algorithm == "DQN" else ACTIONS
    options = {"n_steps": 8} if algorithm == "PPO" else SHORT
    environment = Telling(space, action_space)
    model = shaken(getattr(sb3, algorithm)(kind, environment, device="cpu", **options))
    policy = load_policy(save(model, tmp_path))
    assert policy.provenance.wrappers == wrappers
    gymnasium.register("Telling-v0", lambda **_: environment)
    try:
        made = make_environment("Telling-v0", wrappers=wrappers)
        observed = observer(made, policy.observation_space)
        made.reset()
        space.seed(3)
        seen = np.stack([observed(made.step(made.action_space.sample())[0]) for _ in range(100)])
    finally:
        del gymnasium.registry["Telling-v0"]
    shown = environment.shown
    keys = list(space.spaces) if isinstance(space, spaces.Dict) else []
    batch = {key: np.stack([one[key] for one in shown]) for key in keys} if keys else np.stack(shown)
    tensor = model.policy.obs_to_tensor(batch)[0]
    given = preprocess_obs(tensor, space)
    parts = [given[key] for key in keys] if isinstance(given, dict) else [given]
    features = np.concatenate([part.numpy().reshape(100, -1) for part in parts], axis=1)
    np.testing.assert_array_equal(seen.reshape(100, -1), features)
    expected = predicted(model, batch)
    actions = reference.act(policy, seen)
    if getattr(space, "n", None) == 1:  # one input: one action
        np.testing.assert_allclose(actions, expected, atol=1e-4)
    else:
        assert_same_actions(actions, expected, action_space)


@pytest.mark.parametrize("kind", ["FrozenLake", "Taxi", "CliffWalking"])
def test_the_tables_of_tutorials_are_played_and_exported_as_the_framework_decides(kind: str, tmp_path: Path) -> None:
    from lilliput.policies.export import export, open_artifact
    from lilliput.policies.play import episode_returns

    name = next(one for one in gymnasium.registry if one.startswith(f"{kind}-v"))
    environment = gymnasium.make(name)
    model = shaken(sb3.DQN("MlpPolicy", environment, policy_kwargs={"net_arch": [16]}, device="cpu", **SHORT))
    n = int(environment.observation_space.n)  # type: ignore[attr-defined]
    expected = predicted(model, np.arange(n))
    policy = load_policy(save(model, tmp_path))
    assert_same_actions(reference.act(policy, np.eye(n, dtype=np.float32)), expected, model.action_space)
    for target in ("onnx", "c"):
        export(policy, target, tmp_path / target)
        act = open_artifact(tmp_path / target)
        assert [int(act(state)) for state in np.eye(n, dtype=np.float32)] == expected.tolist()
    about = (tmp_path / "c" / "README.md").read_text()
    assert "Between the environment and the policy stand, the environment's next first: `one_hot`" in about
    assert "as it is" not in about
    assert "stand: one_hot" in (tmp_path / "c" / "c.h").read_text()
    theirs = []
    for seed in range(4):
        state, total, over = environment.reset(seed=seed)[0], 0.0, False
        for _ in range(30):
            state, reward, terminated, truncated, _ = environment.step(expected[state])
            total, over = total + float(reward), terminated or truncated
            if over:
                break
        theirs.append(total)
    assert episode_returns(policy, name, range(4), max_steps=30).tolist() == theirs


def test_a_dict_with_an_image_is_refused(tmp_path: Path) -> None:
    space = spaces.Dict({"camera": spaces.Box(0, 255, (3, 40, 40), np.uint8), "speed": vector(2)})
    model = sb3.PPO("MultiInputPolicy", Still(space, DISCRETE), n_steps=8, device="cpu")
    with pytest.raises(LilliputError, match="Dict observation with images"):
        load_policy(save(model, tmp_path))
