"""Against the frameworks' own predict, for every family and every option that changes the deterministic action."""

import sys
import types
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference
from lilliput.policies.load import load_checkpoint, load_policy
from lilliput.policies.load.sb3_statistics import UNKNOWN

torch = pytest.importorskip("torch")
sb3 = pytest.importorskip("stable_baselines3")
contrib = pytest.importorskip("sb3_contrib")

from tests.policies.load.frameworks import (  # noqa: E402
    ACTIONS,
    DISCRETE,
    IMAGE,
    MATRIX,
    SEVERAL,
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
    ("algorithm", "activation"),
    [
        *((sb3.PPO, one) for one in ("Tanh", "ReLU", "ELU", "LeakyReLU", "SELU")),
        *((sb3.SAC, one) for one in ("Tanh", "SiLU", "GELU", "Sigmoid", "SELU")),
        *((sb3.DQN, one) for one in ("Tanh", "ReLU6", "CELU", "Hardtanh", "SELU")),
        (contrib.CrossQ, "SELU"),
    ],
)
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
    with pytest.raises(LilliputError, match=r"activation_fn is .*Softplus.*supported: torch.nn's ReLU, Tanh"):
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
@pytest.mark.parametrize("activation", ["ReLU", "SELU"])
def test_the_critic_judges_as_the_framework(algorithm: Any, space: Any, activation: str, tmp_path: Path) -> None:
    kwargs = {"activation_fn": getattr(torch.nn, activation)}
    model = algorithm("MlpPolicy", Still(vector(), space), policy_kwargs=kwargs, device="cpu", **SHORT)
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


def test_a_maskable_policy_chooses_as_without_a_mask_and_says_so(tmp_path: Path) -> None:
    model = shaken(contrib.MaskablePPO("MlpPolicy", Still(vector(), DISCRETE), n_steps=8, device="cpu"))
    policy = load_policy(save(model, tmp_path))
    assert policy.provenance.algorithm == "MaskablePPO"
    assert any("choice without a mask" in guess for guess in policy.provenance.guesses)
    batch = observations(model.observation_space)
    assert_same_actions(reference.act(policy, batch), predicted(model, batch), DISCRETE)


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
