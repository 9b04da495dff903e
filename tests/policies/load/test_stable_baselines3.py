"""Against the frameworks' own predict, for every family and every option that changes the deterministic action."""

import json
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference
from lilliput.policies import spaces as ours
from lilliput.policies.load import load_checkpoint, load_policy
from lilliput.policies.load.sb3_statistics import UNKNOWN
from lilliput.policies.policy import Policy

torch = pytest.importorskip("torch")
sb3 = pytest.importorskip("stable_baselines3")
contrib = pytest.importorskip("sb3_contrib")

from tests.policies.load.frameworks import (  # noqa: E402
    ACTIONS,
    IMAGE,
    Still,
    assert_same_actions,
    observations,
    predicted,
    rewrite_zip,
    save,
    shaken,
    vector,
)

pytestmark = [pytest.mark.frameworks, pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]

DISCRETE = spaces.Discrete(5)
SEVERAL = spaces.MultiDiscrete([3, 2, 4])
MATRIX = spaces.Box(-1.0, np.array([[1.0, 2.0], [3.0, 4.0]], np.float32), (2, 2))
SHORT = {"learning_starts": 0, "buffer_size": 10}


@pytest.fixture(autouse=True)
def same_networks() -> None:
    torch.manual_seed(0)


def check(model: Any, tmp_path: Path) -> Policy:
    """The loaded policy, once its actions are the framework's."""
    shaken(model)
    policy = load_policy(save(model, tmp_path))
    batch = observations(model.observation_space)
    assert_same_actions(reference.act(policy, batch), predicted(model, batch), model.action_space)
    return policy


def families() -> list[Any]:
    on = {"n_steps": 8}
    rows = [
        *(
            (cls, space, on)
            for cls in (sb3.A2C, sb3.PPO, contrib.TRPO)
            for space in (ACTIONS, DISCRETE, SEVERAL, MATRIX)
        ),
        *((cls, ACTIONS, SHORT) for cls in (sb3.SAC, sb3.TD3, sb3.DDPG, contrib.TQC, contrib.CrossQ)),
        *((cls, MATRIX, SHORT) for cls in (sb3.SAC, sb3.TD3)),
        *((cls, DISCRETE, SHORT) for cls in (sb3.DQN, contrib.QRDQN)),
        *((contrib.ARS, space, {}) for space in (ACTIONS, DISCRETE)),
    ]
    return [pytest.param(*row, id=f"{row[0].__name__}-{type(row[1]).__name__}{row[1].shape or ''}") for row in rows]


@pytest.mark.parametrize(("algorithm", "action_space", "options"), families())
def test_every_family_acts_as_its_framework(algorithm: Any, action_space: Any, options: dict, tmp_path: Path) -> None:
    model = algorithm("MlpPolicy", Still(vector(), action_space), device="cpu", **options)
    policy = check(model, tmp_path)
    name = {"QRDQN": "QR-DQN"}.get(algorithm.__name__, algorithm.__name__)
    assert policy.provenance.algorithm == name
    assert policy.provenance.framework == "stable_baselines3"
    assert any("activation" in guess for guess in policy.provenance.guesses)


@pytest.mark.parametrize(
    "activation", ["Tanh", "ReLU", "ELU", "LeakyReLU", "SiLU", "GELU", "Sigmoid", "ReLU6", "CELU", "Hardtanh"]
)
@pytest.mark.parametrize("algorithm", [sb3.PPO, sb3.SAC, sb3.DQN], ids=lambda a: a.__name__)
def test_every_activation_is_read_from_the_file(activation: str, algorithm: Any, tmp_path: Path) -> None:
    options = {"n_steps": 8} if algorithm is sb3.PPO else SHORT
    space = DISCRETE if algorithm is sb3.DQN else ACTIONS
    kwargs = {"activation_fn": getattr(torch.nn, activation)}
    policy = check(
        algorithm("MlpPolicy", Still(vector(), space), policy_kwargs=kwargs, device="cpu", **options), tmp_path
    )
    assert not any("activation" in guess for guess in policy.provenance.guesses)


def test_an_unknown_activation_is_named(tmp_path: Path) -> None:
    kwargs = {"activation_fn": torch.nn.Softplus}
    model = sb3.PPO("MlpPolicy", Still(vector(), ACTIONS), n_steps=8, policy_kwargs=kwargs, device="cpu")
    with pytest.raises(LilliputError, match=r"activation_fn is .*Softplus.*supported: torch.nn's Tanh, ReLU"):
        load_policy(save(model, tmp_path))


@pytest.mark.parametrize("net_arch", [[], [7], [16, 9, 4], {"pi": [6], "vf": [8, 8]}, {"pi": [], "vf": [4]}], ids=str)
@pytest.mark.parametrize("algorithm", [sb3.PPO, sb3.A2C], ids=lambda a: a.__name__)
def test_any_widths_of_an_actor_critic(algorithm: Any, net_arch: Any, tmp_path: Path) -> None:
    kwargs = {"net_arch": net_arch}
    policy = check(
        algorithm("MlpPolicy", Still(vector(), ACTIONS), n_steps=8, policy_kwargs=kwargs, device="cpu"), tmp_path
    )
    hidden = net_arch["pi"] if isinstance(net_arch, dict) else net_arch
    widths = [layer.weight.shape[0] for layer in policy.layers if isinstance(layer, layers.Dense)]
    assert widths == [*hidden, 3]


@pytest.mark.parametrize("net_arch", [[], [7], [16, 9, 4]], ids=str)
@pytest.mark.parametrize("algorithm", ["SAC", "TD3", "TQC", "CrossQ", "DQN", "QRDQN"])
def test_any_widths_of_an_off_policy_actor(algorithm: str, net_arch: Any, tmp_path: Path) -> None:
    cls = getattr(sb3, algorithm, None) or getattr(contrib, algorithm)
    space = DISCRETE if algorithm in ("DQN", "QRDQN") else ACTIONS
    check(
        cls("MlpPolicy", Still(vector(), space), policy_kwargs={"net_arch": net_arch}, device="cpu", **SHORT), tmp_path
    )


@pytest.mark.parametrize(
    "kwargs",
    [{}, {"net_arch": [6, 6], "squash_output": False}, {"net_arch": [6], "with_bias": False}, {"net_arch": []}],
    ids=str,
)
def test_ars_squashes_or_clips(kwargs: dict, tmp_path: Path) -> None:
    check(contrib.ARS("MlpPolicy", Still(vector(), ACTIONS), policy_kwargs=kwargs, device="cpu"), tmp_path)


@pytest.mark.parametrize("net_arch", [None, [7], [], {"pi": [7, 9], "vf": [3]}, {"pi": [], "vf": [3]}], ids=str)
def test_hidden_layers_changed_by_hand_are_said(net_arch: Any, tmp_path: Path) -> None:
    kwargs = {} if net_arch is None else {"net_arch": net_arch}
    model = sb3.PPO("MlpPolicy", Still(vector(), ACTIONS), policy_kwargs=kwargs, device="cpu")
    model.save(tmp_path / "made.zip")
    model.policy.mlp_extractor.policy_net.append(torch.nn.Linear(model.policy.action_net.in_features, 8))
    model.policy.action_net = torch.nn.Linear(8, model.policy.action_net.out_features)
    model.save(tmp_path / "changed.zip")
    for name in ("made", "changed"):
        guesses = load_policy(tmp_path / f"{name}.zip").provenance.guesses
        assert any("changed by hand" in one for one in guesses) == (name == "changed")


def test_the_sizes_of_imitations_policy_are_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stable_baselines3.common.policies import ActorCriticPolicy

    def sized(self: Any, *args: Any, **kwargs: Any) -> None:
        ActorCriticPolicy.__init__(self, *args, **kwargs, net_arch=[32, 32])

    where = "imitation.policies.base"
    cls: Any = type("FeedForward32Policy", (ActorCriticPolicy,), {"__init__": sized, "__module__": where})
    for name in ("imitation", "imitation.policies", where):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setattr(sys.modules[where], "FeedForward32Policy", cls, raising=False)
    sb3.PPO(cls, Still(vector(), ACTIONS), device="cpu").save(tmp_path / "x.zip")
    assert not any("changed by hand" in one for one in load_policy(tmp_path / "x.zip").provenance.guesses)


@pytest.mark.parametrize("net_arch", [None, [7], {"pi": [7, 9], "qf": [3]}], ids=str)
@pytest.mark.parametrize("algorithm", ["SAC", "TD3", "TQC", "CrossQ", "DQN", "QRDQN"])
def test_hidden_layers_of_off_policy_actors_changed_by_hand_are_said(
    algorithm: str, net_arch: Any, tmp_path: Path
) -> None:
    valued = "DQN" in algorithm
    if valued and isinstance(net_arch, dict):
        net_arch = net_arch["pi"]
    cls = getattr(sb3, algorithm, None) or getattr(contrib, algorithm)
    kwargs = {} if net_arch is None else {"net_arch": net_arch}
    space = gymnasium.spaces.Discrete(3) if valued else ACTIONS
    model = cls("MlpPolicy", Still(vector(), space), policy_kwargs=kwargs, device="cpu", **SHORT)
    model.save(tmp_path / "made.zip")
    owner, name = {
        "TD3": (lambda: model.policy.actor, "mu"),
        "DQN": (lambda: model.policy.q_net, "q_net"),
        "QRDQN": (lambda: model.policy.quantile_net, "quantile_net"),
    }.get(algorithm, (lambda: model.policy.actor, "latent_pi"))
    network = getattr(owner(), name)
    n = next(module for module in network if isinstance(module, torch.nn.Linear)).in_features
    setattr(
        owner(),
        name,
        torch.nn.Sequential(torch.nn.Linear(n, n), torch.nn.ReLU(), *network),
    )
    model.save(tmp_path / "changed.zip")
    for file in ("made", "changed"):
        guesses = load_policy(tmp_path / f"{file}.zip").provenance.guesses
        assert any("changed by hand" in one for one in guesses) == (file == "changed")


@pytest.mark.parametrize("kwargs", [{}, {"with_bias": True}, {"squash_output": True}], ids=str)
def test_ars_linear_policy_clips(kwargs: dict, tmp_path: Path) -> None:
    policy = check(contrib.ARS("LinearPolicy", Still(vector(), ACTIONS), policy_kwargs=kwargs, device="cpu"), tmp_path)
    assert isinstance(policy.layers[-1], layers.ClipAction) is not kwargs.get("squash_output", False)
    assert set(policy.provenance.guesses) == {UNKNOWN}


@pytest.mark.parametrize("squash", [False, True])
@pytest.mark.parametrize("algorithm", [sb3.PPO, sb3.A2C], ids=lambda a: a.__name__)
def test_gsde_of_an_actor_critic(algorithm: Any, squash: bool, tmp_path: Path) -> None:
    kwargs = {"squash_output": squash}
    model = algorithm(
        "MlpPolicy", Still(vector(), ACTIONS), n_steps=8, use_sde=True, policy_kwargs=kwargs, device="cpu"
    )
    policy = check(model, tmp_path)
    assert any(isinstance(layer, layers.SquashAction) for layer in policy.layers) is squash


@pytest.mark.parametrize("on", [True, 1, np.bool_(True), np.float32(1)], ids=repr)
def test_what_is_on_by_any_true_value_is_on(on: Any, tmp_path: Path) -> None:
    """A search over hyperparameters gives 1, or numpy's values; JSON has these as texts."""
    off = 0 if isinstance(on, int) else np.bool_(False)
    squashed = sb3.A2C(
        "MlpPolicy", Still(vector(), ACTIONS), n_steps=8, use_sde=on, policy_kwargs={"squash_output": on}, device="cpu"
    )
    assert isinstance(check(squashed, tmp_path).layers[-2], layers.SquashAction)
    kwargs = {"net_arch": [6], "squash_output": off}
    check(contrib.ARS("MlpPolicy", Still(vector(), ACTIONS), policy_kwargs=kwargs, device="cpu"), tmp_path)
    pixels = gymnasium.spaces.Box(0, 255, (3, 8, 8), np.uint8)
    kwargs = {"normalize_images": off}
    raw = check(sb3.PPO("MlpPolicy", Still(pixels, ACTIONS), n_steps=8, policy_kwargs=kwargs, device="cpu"), tmp_path)
    assert not isinstance(raw.layers[0], layers.Standardize)


def test_arguments_are_what_their_pickle_says_as_in_the_framework(tmp_path: Path) -> None:
    kwargs = {"activation_fn": torch.nn.ReLU, "squash_output": False}
    model = sb3.A2C("MlpPolicy", Still(vector(), ACTIONS), n_steps=8, use_sde=True, policy_kwargs=kwargs, device="cpu")
    path = save(model, tmp_path)
    edited = tmp_path / "edited.zip"
    texts = {"activation_fn": "<class 'torch.nn.modules.activation.Tanh'>", "squash_output": True}
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(edited, "w") as new:
        for entry in old.namelist():
            data = json.loads(old.read(entry)) if entry == "data" else None
            if data is not None:
                data["policy_kwargs"] |= texts
            new.writestr(entry, old.read(entry) if data is None else json.dumps(data))
    batch = observations(model.observation_space)
    expected = predicted(sb3.A2C.load(edited), batch)
    assert_same_actions(reference.act(load_policy(edited), batch), expected, ACTIONS)


def test_a_squash_without_gsde_is_refused(tmp_path: Path) -> None:
    kwargs = {"squash_output": True}
    model = sb3.A2C("MlpPolicy", Still(vector(), ACTIONS), n_steps=8, use_sde=True, policy_kwargs=kwargs, device="cpu")
    model.use_sde = False
    with pytest.raises(LilliputError, match="squash_output without use_sde"):
        load_policy(save(model, tmp_path))


def test_the_spread_of_the_actions_is_read_where_it_is_the_same_in_all_states(tmp_path: Path) -> None:
    models = {
        "matrix": sb3.PPO("MlpPolicy", Still(vector(), MATRIX), n_steps=8, device="cpu"),
        "gsde": sb3.PPO("MlpPolicy", Still(vector(), ACTIONS), n_steps=8, use_sde=True, device="cpu"),
        "choice": sb3.PPO("MlpPolicy", Still(vector(), DISCRETE), n_steps=8, device="cpu"),
        "sac": sb3.SAC("MlpPolicy", Still(vector(), ACTIONS), device="cpu", **SHORT),
    }
    found = {}
    for name, model in models.items():
        shaken(model)
        (tmp_path / name).mkdir()
        found[name] = load_checkpoint(save(model, tmp_path / name)).learner.action_std
    seen = torch.zeros(1, *vector().shape)
    expected = models["matrix"].policy.get_distribution(seen).distribution.stddev[0].detach().numpy()
    assert found.pop("matrix") == pytest.approx(expected.tolist(), rel=1e-6)
    assert set(found.values()) == {()}


@pytest.mark.parametrize("space", [ACTIONS, MATRIX], ids=["vector", "matrix"])
@pytest.mark.parametrize("algorithm", [sb3.SAC, sb3.TD3, sb3.DDPG, contrib.TQC], ids=lambda a: a.__name__)
def test_the_critic_judges_as_the_framework(algorithm: Any, space: Any, tmp_path: Path) -> None:
    model = algorithm("MlpPolicy", Still(vector(), space), device="cpu", **SHORT)
    shaken(model)
    model_path = save(model, tmp_path)
    statistics = {"mean": np.full(vector().shape, 0.5), "var": np.full(vector().shape, 4.0), "clip": np.array(0.7)}
    np.savez(tmp_path / "statistics.npz", **statistics)
    for normalizer in (None, tmp_path / "statistics.npz"):
        critic = load_checkpoint(model_path, normalizer=normalizer).learner.critic
        rng = np.random.default_rng(0)
        x = rng.standard_normal((20, *vector().shape)).astype(np.float32)
        actions = rng.uniform(space.low, space.high, (20, *space.shape)).astype(np.float32)
        seen = x if normalizer is None else np.clip((x - 0.5) / 2, -0.7, 0.7)
        scaled = torch.tensor(model.policy.scale_action(actions).reshape(20, -1))
        with torch.no_grad():
            values = model.critic(torch.tensor(seen, dtype=torch.float32), scaled)
        expected = values[:, 0].mean(dim=1) if algorithm is contrib.TQC else values[0][:, 0]
        found = np.concatenate([x, actions.reshape(20, -1)], axis=1)
        for layer in critic:
            found = reference.apply(layer, found)
        np.testing.assert_allclose(found[:, 0], expected.numpy(), rtol=1e-4, atol=1e-5)


def test_a_critic_on_images_is_not_read(tmp_path: Path) -> None:
    kwargs = {"features_extractor_kwargs": {"features_dim": 32}}
    model = sb3.SAC("CnnPolicy", Still(IMAGE, ACTIONS), policy_kwargs=kwargs, device="cpu", **SHORT)
    assert not load_checkpoint(save(model, tmp_path)).learner.critic


@pytest.mark.parametrize("kwargs", [{}, {"clip_mean": 0.5}, {"clip_mean": 0.0}, {"net_arch": []}], ids=str)
@pytest.mark.parametrize("algorithm", ["SAC", "TQC"])
def test_gsde_clips_the_mean(algorithm: str, kwargs: dict, tmp_path: Path) -> None:
    cls = getattr(sb3, algorithm, None) or getattr(contrib, algorithm)
    model = cls("MlpPolicy", Still(vector(), ACTIONS), use_sde=True, policy_kwargs=kwargs, device="cpu", **SHORT)
    shaken(model)
    with torch.no_grad():
        for tensor in model.actor.mu.parameters():
            tensor *= 20
    policy = check(model, tmp_path)
    clipped = [layer.high for layer in policy.layers if isinstance(layer, layers.HardTanh)]
    assert clipped == ([] if kwargs.get("clip_mean") == 0.0 else [kwargs.get("clip_mean", 2.0)])


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


def test_a_dict_with_an_image_is_refused(tmp_path: Path) -> None:
    space = spaces.Dict({"camera": spaces.Box(0, 255, (3, 40, 40), np.uint8), "speed": vector(2)})
    model = sb3.PPO("MultiInputPolicy", Still(space, DISCRETE), n_steps=8, device="cpu")
    with pytest.raises(LilliputError, match="Dict observation with images"):
        load_policy(save(model, tmp_path))


def test_layer_norm_behind_the_linear_layers(tmp_path: Path) -> None:
    # The framework's create_mlp takes post_linear_modules; a policy that uses it saves the same keys.
    from stable_baselines3.common.torch_layers import create_mlp

    model = sb3.SAC("MlpPolicy", Still(vector(), ACTIONS), device="cpu", policy_kwargs={"net_arch": [12, 8]}, **SHORT)
    model.actor.latent_pi = torch.nn.Sequential(
        *create_mlp(5, -1, [12, 8], torch.nn.ReLU, post_linear_modules=[torch.nn.LayerNorm])
    )
    policy = check(model, tmp_path)
    assert sum(isinstance(layer, layers.LayerNorm) for layer in policy.layers) == 2
    assert any("norms are taken as torch's LayerNorm" in guess for guess in policy.provenance.guesses)


def test_batch_norm_before_the_linear_layers_folds_away(tmp_path: Path) -> None:
    from stable_baselines3.common.torch_layers import create_mlp

    model = sb3.TD3("MlpPolicy", Still(vector(), ACTIONS), device="cpu", policy_kwargs={"net_arch": [12, 8]}, **SHORT)
    modules = create_mlp(5, 3, [12, 8], torch.nn.ReLU, squash_output=True, pre_linear_modules=[torch.nn.BatchNorm1d])
    model.actor.mu = torch.nn.Sequential(*modules)
    for module in modules:
        if isinstance(module, torch.nn.BatchNorm1d):
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
    policy = check(model, tmp_path)
    assert [type(layer).__name__ for layer in policy.layers[:4]] == ["Dense", "Relu", "Dense", "Relu"]


def test_the_exact_bounds_come_from_the_file(tmp_path: Path) -> None:
    low = np.array([-0.123456789, -1e-9, -3.4e38], np.float32)
    space = spaces.Box(low, np.array([1e-7, 0.3926991, 3.4e38], np.float32))
    model = sb3.PPO("MlpPolicy", Still(vector(), space), n_steps=8, device="cpu")
    policy = load_policy(save(model, tmp_path))
    assert isinstance(policy.action_space, ours.Box)
    np.testing.assert_array_equal(policy.action_space.low, space.low.astype(np.float64))
    np.testing.assert_array_equal(policy.action_space.high, space.high.astype(np.float64))


def data_of(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("data"))


def without_pickles(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_pickles(item) for key, item in value.items() if key != ":serialized:"}
    return value


SPACES = [
    (vector(), ACTIONS),
    (spaces.Box(-1e-9, np.array([1e30, 2.5], np.float32)), DISCRETE),
    (spaces.Box(0, 255, (3, 36, 36), np.uint8), SEVERAL),
    (vector(1500), MATRIX),
    (spaces.Dict({"b": vector(3), "a": spaces.Box(-1.0, np.array([2.0, 3.0], np.float32))}), ACTIONS),
]


@pytest.mark.parametrize(("observation_space", "action_space"), SPACES, ids=str)
def test_the_text_of_the_spaces_is_enough(observation_space: Any, action_space: Any, tmp_path: Path) -> None:
    kind = "MultiInputPolicy" if isinstance(observation_space, spaces.Dict) else "MlpPolicy"
    model = sb3.PPO(kind, Still(observation_space, action_space), n_steps=8, device="cpu")
    path = save(model, tmp_path)
    exact = load_policy(path)
    data = json.dumps(without_pickles(data_of(path))).encode()
    from_text = load_policy(rewrite_zip(path, tmp_path / "text.zip", {"data": data}))
    assert from_text.digest == exact.digest


class Refused:
    def __reduce__(self) -> Any:
        return (exec, ("raise SystemExit('a pickle was executed')",))


def test_no_pickle_in_the_data_is_executed(tmp_path: Path) -> None:
    import base64
    import pickle

    path = save(sb3.PPO("MlpPolicy", Still(vector(), ACTIONS), n_steps=8, device="cpu"), tmp_path)
    hostile = base64.b64encode(pickle.dumps(Refused())).decode()

    def poisoned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: hostile if key == ":serialized:" else poisoned(item) for key, item in value.items()}
        return value

    changed = {"data": json.dumps(poisoned(data_of(path))).encode()}
    assert load_policy(rewrite_zip(path, tmp_path / "hostile.zip", changed)).digest == load_policy(path).digest


def test_elided_bounds_without_a_pickle_are_refused_unless_all_are_the_same(tmp_path: Path) -> None:
    space = spaces.Box(np.arange(1500, dtype=np.float32) - 2000, np.float32(np.inf))
    path = save(sb3.PPO("MlpPolicy", Still(space, ACTIONS), n_steps=8, device="cpu"), tmp_path)
    data = without_pickles(data_of(path))
    with pytest.raises(LilliputError, match=r"low is .*not all of its numbers are in the file"):
        load_policy(rewrite_zip(path, tmp_path / "text.zip", {"data": json.dumps(data).encode()}))
    exact = load_policy(path).observation_space
    assert isinstance(exact, ours.Box)
    assert exact.low[1] == -1999


def test_shared_layers_of_old_versions(tmp_path: Path) -> None:
    """Before 1.8 the first layers could be common to actor and critic: mlp_extractor.shared_net."""
    model = shaken(
        sb3.PPO("MlpPolicy", Still(vector(), ACTIONS), n_steps=8, policy_kwargs={"net_arch": [8, 6]}, device="cpu")
    )
    path = save(model, tmp_path)
    with zipfile.ZipFile(path) as archive, archive.open("policy.pth") as entry:
        state = torch.load(entry, weights_only=True)
    renamed = {
        key.replace("policy_net.0", "shared_net.0").replace("policy_net.2", "policy_net.0"): value
        for key, value in state.items()
        if "mlp_extractor.value_net" not in key
    }
    from tests.policies.load.frameworks import torch_bytes

    old = rewrite_zip(path, tmp_path / "old.zip", {"policy.pth": torch_bytes(renamed)})
    batch = observations(model.observation_space)
    assert_same_actions(reference.act(load_policy(old), batch), predicted(model, batch), ACTIONS)


def test_the_oldest_torch_format(tmp_path: Path) -> None:
    from tests.policies.load.frameworks import torch_bytes

    path = save(sb3.SAC("MlpPolicy", Still(vector(), ACTIONS), device="cpu", **SHORT), tmp_path)
    with zipfile.ZipFile(path) as archive, archive.open("policy.pth") as entry:
        state = torch.load(entry, weights_only=True)
    old = rewrite_zip(
        path, tmp_path / "old.zip", {"policy.pth": torch_bytes(state, _use_new_zipfile_serialization=False)}
    )
    assert load_policy(old).digest == load_policy(path).digest


def ppo(observation_space: Any, action_space: Any, **options: Any) -> Any:
    return sb3.PPO("MlpPolicy", Still(observation_space, action_space), n_steps=8, device="cpu", **options)


class Network(torch.nn.Module):
    """The custom network of the framework's documentation: an activation behind each layer, which no key names."""

    def __init__(self, n_features: int, activation: Any) -> None:
        super().__init__()
        self.latent_dim_pi, self.latent_dim_vf = 16, 8
        self.policy_net = torch.nn.Sequential(torch.nn.Linear(n_features, 16), activation())
        self.value_net = torch.nn.Sequential(torch.nn.Linear(n_features, 8), activation())

    def forward(self, features: Any) -> Any:
        return self.forward_actor(features), self.forward_critic(features)

    def forward_actor(self, features: Any) -> Any:
        return self.policy_net(features)

    def forward_critic(self, features: Any) -> Any:
        return self.value_net(features)


def custom_policy(activation: Any) -> Any:
    class Custom(sb3.common.policies.ActorCriticPolicy):
        def __init__(self, *given: Any, gain: float = 1.0, **named: Any) -> None:
            super().__init__(*given, **named)

        def _build_mlp_extractor(self) -> None:
            self.mlp_extractor = Network(self.features_dim, activation)  # type: ignore[assignment]

    return Custom


@pytest.mark.parametrize("kind", ["ReLU", "ELU", "SiLU", "Tanh"])
def test_a_custom_network_asks_for_its_activation(kind: str, tmp_path: Path) -> None:
    policy_class = custom_policy(getattr(torch.nn, kind))
    own = {"gain": 0.5}
    model = shaken(sb3.PPO(policy_class, Still(vector(), ACTIONS), n_steps=8, policy_kwargs=own, device="cpu"))
    path = save(model, tmp_path)
    with pytest.raises(LilliputError, match=r"Custom is not the framework's.*give --plain"):
        load_policy(path, activation=kind.lower())
    with pytest.raises(LilliputError, match=r"Custom is not the framework's.*give --activation relu\|tanh"):
        load_policy(path, plain=True)
    policy = load_policy(path, activation=kind.lower(), plain=True)
    batch = observations(model.observation_space)
    assert_same_actions(reference.act(policy, batch), predicted(model, batch), ACTIONS)
    assert f"the hidden activation is not in the file: {kind.lower()}, as given" in policy.provenance.guesses
    assert "its argument gain = 0.5 is the class's own, and not read" in policy.provenance.guesses


def test_an_activation_for_a_network_that_has_none_or_names_it_is_refused(tmp_path: Path) -> None:
    named = {"activation_fn": torch.nn.ELU}
    for kwargs, ending in ((named, "named"), ({"net_arch": []}, "linear")):
        model = sb3.PPO("MlpPolicy", Still(vector(), ACTIONS), n_steps=8, policy_kwargs=kwargs, device="cpu")
        path = save(model, tmp_path, ending)
        load_policy(path)
        with pytest.raises(LilliputError, match="needs no activation to be read"):
            load_policy(path, activation="relu")


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


@pytest.mark.parametrize("key", ["mlp_extractor.shared.0.weight", "std", "value_net2.weight", "actor.std.weight"])
def test_keys_that_are_not_the_framework_s_refuse(key: str, tmp_path: Path) -> None:
    from tests.policies.load.frameworks import torch_bytes

    path = save(ppo(vector(), ACTIONS), tmp_path)
    with zipfile.ZipFile(path) as archive, archive.open("policy.pth") as entry:
        state = torch.load(entry, weights_only=True)
    changed = rewrite_zip(path, tmp_path / "x.zip", {"policy.pth": torch_bytes({**state, key: torch.zeros(1)})})
    with pytest.raises(LilliputError, match=f"policy.pth has '{key}', which the framework's own"):
        load_policy(changed)


def refusals() -> list[Any]:
    return [
        pytest.param(
            lambda: ppo(vector(), spaces.MultiBinary(3)),
            "action_space is MultiBinary; supported: Box, Discrete",
            id="bits",
        ),
        pytest.param(
            lambda: ppo(spaces.Discrete(4), DISCRETE), r"Discrete\(4\) -> Discrete\(5\) is not supported", id="one-hot"
        ),
        pytest.param(
            lambda: sb3.PPO(OwnHead, Still(vector(), ACTIONS), n_steps=8, device="cpu"),
            r"OwnHead has its own _get_action_dist_from_latent, and may decide otherwise",
            id="own head",
        ),
        pytest.param(
            lambda: ppo(vector(), DISCRETE, policy_kwargs={"features_extractor_class": Doubling}),
            "features_extractor_class is .*Doubling.*supported: FlattenExtractor, NatureCNN",
            id="extractor",
        ),
    ]


class Doubling(sb3.common.torch_layers.BaseFeaturesExtractor):
    def __init__(self, observation_space: gymnasium.Space) -> None:
        super().__init__(observation_space, 10)

    def forward(self, x: Any) -> Any:
        return torch.cat([x, x], 1)


class OwnHead(sb3.common.policies.ActorCriticPolicy):
    def _get_action_dist_from_latent(self, latent_pi: Any) -> Any:
        return super()._get_action_dist_from_latent(0.5 * latent_pi)


class Inherits(OwnHead):
    """Has no function of its own; what decides stands in its base."""


class Halves:
    def _predict(self, observation: Any, deterministic: bool = False) -> Any:
        return super()._predict(observation, deterministic) / 2  # type: ignore[misc]


class Mixed(Halves, sb3.common.policies.ActorCriticPolicy):
    """The same in a mixin."""


@pytest.mark.parametrize("policy_class", [Inherits, Mixed])
@pytest.mark.parametrize("by_value", [False, True])
def test_what_a_policy_class_inherits_is_asked_about(
    policy_class: Any, by_value: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by_value:  # as a class of a script, which cloudpickle stores whole
        for one in (policy_class, *policy_class.__bases__):
            if one.__module__ == __name__:
                monkeypatch.setattr(one, "__module__", "__main__")
    kwargs = {"activation_fn": torch.nn.ELU}
    path = save(
        sb3.PPO(policy_class, Still(vector(), ACTIONS), n_steps=8, policy_kwargs=kwargs, device="cpu"), tmp_path
    )
    with pytest.raises(LilliputError, match=r"is not the framework's.*inherits from.*activation_fn.*give --plain"):
        load_policy(path)


def test_a_maskable_policy_chooses_as_without_a_mask_and_says_so(tmp_path: Path) -> None:
    model = shaken(contrib.MaskablePPO("MlpPolicy", Still(vector(), DISCRETE), n_steps=8, device="cpu"))
    policy = load_policy(save(model, tmp_path))
    assert policy.provenance.algorithm == "MaskablePPO"
    assert any("choice without a mask" in guess for guess in policy.provenance.guesses)
    batch = observations(model.observation_space)
    assert_same_actions(reference.act(policy, batch), predicted(model, batch), DISCRETE)


@pytest.mark.parametrize(("make", "message"), refusals())
def test_what_is_refused_is_said(make: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(LilliputError, match=message) as caught:
        load_policy(save(make(), tmp_path))
    assert "\n" not in str(caught.value)


def test_a_policy_with_non_finite_weights_is_refused(tmp_path: Path) -> None:
    model = sb3.PPO("MlpPolicy", Still(vector(), ACTIONS), n_steps=8, device="cpu")
    with torch.no_grad():
        model.policy.action_net.weight[0, 0] = float("nan")
    with pytest.raises(LilliputError, match="not finite"):
        load_policy(save(model, tmp_path))


@pytest.mark.parametrize(
    ("action_space", "kwargs"),
    [
        (ACTIONS, {"n_lstm_layers": 2}),
        (DISCRETE, {"shared_lstm": True, "enable_critic_lstm": False, "net_arch": []}),
        (ACTIONS, {"lstm_kwargs": {"bias": False}}),
    ],
    ids=["box", "choices", "no bias"],
)
def test_a_recurrent_policy_acts_as_its_framework(action_space: Any, kwargs: dict[str, Any], tmp_path: Path) -> None:
    """Over an episode of 50 steps, its memory at zeros where it starts."""
    environment = Still(vector(), action_space)
    model = contrib.RecurrentPPO(
        "MlpLstmPolicy", environment, n_steps=8, device="cpu", policy_kwargs={"lstm_hidden_size": 8, **kwargs}, seed=1
    )
    model.save(tmp_path / "model.zip")
    policy = load_policy(tmp_path / "model.zip")
    assert policy.provenance.algorithm == "RecurrentPPO"
    space = vector()
    x = np.cumsum(np.random.default_rng(0).normal(0, 0.3, (50, *space.shape)), axis=0)
    x = np.clip(x, space.low, space.high).astype(np.float32)
    state, expected = None, []
    for step, row in enumerate(x):
        action, state = model.predict(row, state, np.array([step == 0]), deterministic=True)
        expected.append(action)
    np.testing.assert_allclose(reference.act_episode(policy, x), expected, atol=2e-6)


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
