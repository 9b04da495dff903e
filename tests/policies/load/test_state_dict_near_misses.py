"""State dicts a hair's breadth from a known one: read in the order that their numbers say, named or refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.policies.load.layout_states import DQN, PPO, SFUJIM, batch, norms, written
from tests.policies.load.torch_writer import dense, layer, linear, mlp, module, named, sequential

from lilliput.errors import LilliputError
from lilliput.policies import reference
from lilliput.policies.load import load_policy

FREE: Any = {"action_low": -np.inf, "action_high": np.inf}
SPREAD = np.ones(3, "f4")
RNG = np.random.default_rng(4)


def trunk(prefix: str, layers: tuple[int, int], norm: tuple[int, int]) -> dict[str, np.ndarray]:
    """Two Linear layers and a norm for each, at these numbers of a Sequential."""
    found = dense(f"{prefix}.{layers[0]}", 5, 16, RNG) | dense(f"{prefix}.{layers[1]}", 16, 12, RNG)
    return (
        found
        | norms((f"{prefix}.{norm[0]}",), ("weight", "bias"), 16)
        | norms((f"{prefix}.{norm[1]}",), ("weight", "bias"), 12)
    )


def rl_games(layers: tuple[int, int], norm: tuple[int, int]) -> dict[str, Any]:
    net = trunk("a2c_network.actor_mlp", layers, norm) | dense("a2c_network.mu", 12, 3, RNG)
    return {"model": net | {"a2c_network.sigma": SPREAD}}


def skrl(layers: tuple[int, int], norm: tuple[int, int]) -> dict[str, Any]:
    net = trunk("net_container", layers, norm) | dense("policy_layer", 12, 3, RNG)
    return {"policy": net | dense("value_layer", 12, 1, RNG) | {"log_std_parameter": SPREAD}}


def acted(state: dict[str, np.ndarray], x: np.ndarray, last: str, *order: str) -> np.ndarray:
    """The network in float64: Linear layers, norms and "elu" in this order, then the last layer."""
    x = x.astype(np.float64)
    for step in (*order, last):
        if step == "elu":
            x = np.where(x > 0, x, np.expm1(np.minimum(x, 0)))
            continue
        (weight,) = (array for key, array in state.items() if key.endswith(f"{step}.weight"))
        (bias,) = (array for key, array in state.items() if key.endswith(f"{step}.bias"))
        if weight.ndim == 2:
            x = x @ weight.T + bias
        else:
            x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5) * weight + bias
    return x


@pytest.mark.parametrize(("make", "last"), [(rl_games, "mu"), (skrl, "policy_layer")])
@pytest.mark.parametrize(
    ("layers", "norm", "order"),
    [
        ((0, 3), (2, 5), ("0", "elu", "2", "3", "elu", "5")),
        ((0, 3), (1, 4), ("0", "1", "elu", "3", "4", "elu")),
    ],
)
def test_a_norm_stands_where_its_number_says(
    make: Any, last: str, layers: Any, norm: Any, order: tuple[str, ...], tmp_path: Path
) -> None:
    value = make(layers, norm)
    path = written(value, tmp_path)
    policy = load_policy(path, activation="elu", plain=True, **FREE)
    (state,) = value.values()
    x = batch(5)
    np.testing.assert_allclose(
        reference.act(policy, x),
        acted(state, x, last, *(f".{one}" if one != "elu" else one for one in order)),
        atol=1e-5,
    )


def test_a_norm_between_two_modules_without_parameters_is_refused(tmp_path: Path) -> None:
    path = written(rl_games((0, 4), (2, 5)), tmp_path)
    with pytest.raises(LilliputError, match="two modules without parameters between its Linear layers"):
        load_policy(path, activation="elu", plain=True, **FREE)


def test_what_is_taken_of_a_dqn_is_said_and_an_environment_contradicts_it(tmp_path: Path) -> None:
    path = written(DQN, tmp_path)
    assert any("as Q-values of 3 choices" in guess for guess in load_policy(path).provenance.guesses)
    with pytest.raises(LilliputError, match=r"a choice of 3; Pendulum-v1 takes Box.*--action continuous or tanh"):
        load_policy(path, environment="Pendulum-v1")
    with pytest.raises(LilliputError, match=r"a choice of 3; CartPole-v1 takes Discrete\(2\)"):
        load_policy(path, environment="CartPole-v1")
    assert load_policy(path, environment="Acrobot-v1")
    atoms = written(mlp("network", [5, 120, 84, 4 * 51]), tmp_path)
    with pytest.raises(LilliputError, match=r"204 outputs, which may be a distribution .*C51.*discrete and --plain"):
        load_policy(atoms)
    assert load_policy(atoms, action="discrete", plain=True)


def test_what_a_file_cannot_tell_of_its_observation_and_action_is_said(tmp_path: Path) -> None:
    def said(value: Any, **options: Any) -> str:
        return "; ".join(load_policy(written(value, tmp_path), **FREE, **options).provenance.guesses)

    box: Any = {"action_low": -1.0, "action_high": 1.0}
    sfujim = load_policy(written(SFUJIM, tmp_path), **box).provenance.guesses
    assert any(guess.startswith("observation statistics, scaling and clipping are not in the file") for guess in sfujim)
    assert any("BCQ's actor" in guess and "TD3+BC" in guess for guess in sfujim)
    assert "how the outputs become an action is not in the file: continuous" in said(PPO)
    preprocess = mlp("actor.preprocess.model.model", [5, 16, 8]) | dense("actor.mu.model.0", 8, 3, RNG)
    tianshou = {"model": preprocess | {"actor.sigma_param": np.zeros((3, 1), "f4")}}
    assert "behind the last layer of preprocess too" in said(tianshou, activation="relu", action="continuous")


BOUNDS: dict[str, Any] = {"action_low": -1.0, "action_high": 1.0}
SCALE = {"action_scale": np.ones(3, "f4"), "action_bias": np.zeros(3, "f4")}
RSL = mlp("actor", [5, 16, 3]) | mlp("critic", [5, 16, 1]) | {"std": SPREAD}
RSL_STATISTICS = {f"actor_obs_normalizer.{key}": np.ones((1, 5), "f4") for key in ("_mean", "_var", "_std")}
RSL_STATISTICS["actor_obs_normalizer.count"] = np.asarray(9)
RL_GAMES = mlp("a2c_network.actor_mlp", [5, 16, 8])
ELU: dict[str, Any] = {"activation": "elu"}
SAC = dense("fc_logstd", 16, 3, RNG) | SCALE | named([5, 16, 16, 3], ["fc1", "fc2", "fc_mean"])
ATARI = {f"network.{key}.bias": np.zeros(n, "f4") for key, n in ((0, 2), (2, 2), (4, 2), (7, 8), (9, 3))} | {
    f"network.{key}.weight": np.ones(shape, "f4")
    for key, shape in ((0, (2, 4, 8, 8)), (2, (2, 2, 4, 4)), (4, (2, 2, 3, 3)), (7, (8, 98)), (9, (3, 8)))
}
STATE_DICTS: dict[str, tuple[Any, dict[str, Any], str, str]] = {
    "sfujim": (SFUJIM, BOUNDS, "observation statistics", "tanh (tanh of the outputs"),
    "CleanRL's SAC": (SAC, {}, "observation statistics", "tanh (tanh of the outputs"),
    "CleanRL's TD3": (
        named([5, 16, 16, 3], ["fc1", "fc2", "fc_mu"]) | SCALE, {}, "observation statistics", "tanh (tanh"
    ),
    "CleanRL's PPO": (PPO, FREE, "observation statistics", "continuous"),
    "CleanRL's DQN": (mlp("network", [5, 120, 84, 3]), {}, "observation statistics", "discrete (the index of the l"),
    "CleanRL's Atari DQN": (ATARI, {}, "the observation is taken to be an Atari game's", "discrete"),
    "rsl_rl": ({"model_state_dict": RSL, "iter": 1}, ELU, "observation statistics", "continuous"),
    "rsl_rl, statistics": (
        {"model_state_dict": RSL | RSL_STATISTICS, "iter": 1}, ELU, "what is done to the observation before", "continu"
    ),
    "rsl_rl 4": (
        {"actor_state_dict": mlp("mlp", [5, 16, 3]) | {"distribution.std_param": SPREAD}, "iter": 1},
        ELU, "observation statistics", "continuous",
    ),
    "skrl": (
        {"policy": mlp("net_container", [5, 16, 3]) | {"log_std_parameter": SPREAD}},
        ELU, "observation statistics", "continuous",
    ),
    "rl_games": (
        RL_GAMES | dense("a2c_network.mu", 8, 3, RNG) | {"a2c_network.sigma": SPREAD},
        ELU | BOUNDS, "observation statistics", "clipped to [-1, 1]",
    ),
    "rl_games, choices": (
        RL_GAMES | dense("a2c_network.logits", 8, 3, RNG), ELU, "observation statistics", "discrete"
    ),
    "a chain": (named([5, 16, 12, 3], ["a", "b", "c"]), ELU | {"action": "discrete"}, "observation statistics", ""),
    "tianshou": (
        mlp("actor.preprocess.model.model", [5, 16, 8]) | dense("actor.last.model.0", 8, 3, RNG),
        ELU | {"action": "discrete"}, "observation statistics", "",
    ),
    "Sequential": (
        sequential(linear(5, 8), layer("activation.ReLU"), linear(8, 3, 1)),
        {"action": "discrete"}, "observation statistics", "",
    ),
}  # fmt: skip
"""A file of weights, its options, how the sentences on observation and action begin; "": it was said."""


@pytest.mark.parametrize("what", STATE_DICTS)
def test_what_stands_before_the_first_layer_and_behind_the_last_is_in_no_file_and_said(
    what: str, tmp_path: Path
) -> None:
    value, options, before, behind = STATE_DICTS[what]
    guesses = load_policy(written(value, tmp_path), **options).provenance.guesses
    assert sum(guess.startswith(before) for guess in guesses) == 1
    head = "how the outputs become an action is not in the file: "
    assert [guess for guess in guesses if guess.startswith(f"{head}{behind}")] == [
        guess for guess in guesses if guess.startswith(head)
    ]
    assert sum(guess.startswith(head) for guess in guesses) == bool(behind)
    if before == "observation statistics":  # unless the user said it
        told = load_policy(written(value, tmp_path), **options, normalizer=False).provenance.guesses
        assert not any(guess.startswith(before) for guess in told)


@pytest.mark.parametrize("names", [("model_state_dict", "ema_state_dict"), ("last", "best"), ("agent_0", "agent_1")])
def test_two_networks_of_one_layout_are_named_as_that(names: tuple[str, str], tmp_path: Path) -> None:
    one = mlp("actor", [5, 16, 3]) | mlp("critic", [5, 16, 1]) | {"std": SPREAD}
    path = written(dict.fromkeys(names, one), tmp_path)
    with pytest.raises(
        LilliputError, match=rf"two networks of the same layout in one file \({names[0]} and {names[1]}"
    ):
        load_policy(path, activation="elu")
    path = written([one, one, one], tmp_path)
    with pytest.raises(LilliputError, match=r"two networks of the same layout in one file \(\[0\] and \[1\]"):
        load_policy(path, activation="elu")


def test_more_outputs_than_an_atari_game_has_choices_are_refused(tmp_path: Path) -> None:
    def atari(outputs: int) -> dict[str, np.ndarray]:
        shapes = {"0": (2, 4, 8, 8), "2": (2, 2, 4, 4), "4": (2, 2, 3, 3), "7": (8, 98), "9": (outputs, 8)}
        biases = {f"network.{key}.bias": np.zeros(shape[0], "f4") for key, shape in shapes.items()}
        return {f"network.{key}.weight": np.ones(shape, "f4") for key, shape in shapes.items()} | biases

    with pytest.raises(LilliputError, match="204 outputs, and an Atari game takes 18 choices at most"):
        load_policy(written(atari(204), tmp_path))
    assert load_policy(written(atari(4), tmp_path))


def test_a_class_of_another_program_is_said(tmp_path: Path) -> None:
    def net() -> Any:
        return sequential(linear(5, 8), layer("activation.ReLU"), linear(8, 2, 1), layer("activation.Tanh"))

    for where, said in (("core", True), ("spinup.algos.pytorch.ddpg.core", False)):
        actor = module(f"{where}.MLPActor", {"pi": net()}, act_limit=2.0)
        whole = module(f"{where}.MLPActorCritic", {"pi": actor, "q": module(f"{where}.MLPQFunction", {"q": net()})})
        guesses = load_policy(written(whole, tmp_path)).provenance.guesses
        assert any(f"the class {where}.MLPActorCritic is taken to compute" in guess for guess in guesses) == said
