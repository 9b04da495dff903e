"""Checkpoints of rsl_rl, rl_games and skrl, written by the programs themselves (fixtures/load/training/make.py)."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.policies.load.torch_writer import mlp, named, torch_file

from lilliput.errors import LilliputError
from lilliput.policies import reference, spaces
from lilliput.policies.load import load_checkpoint, load_policy

FOLDER = Path(__file__).parents[2] / "fixtures" / "load" / "training"
OBSERVATIONS = (np.random.default_rng(0).normal(size=(1000, 5)) * 4).astype(np.float32)
BOUNDS: Any = {"action_low": [-2.0, -2.0], "action_high": [3.0, 2.0]}
CASES: dict[str, dict[str, Any]] = {
    "rsl_rl2": {"activation": "elu"},
    "rsl_rl2_statistics": {"activation": "elu"},
    "rsl_rl3": {"activation": "relu"},
    "rsl_rl5_gaussian": {"activation": "elu"},
    "skrl": {"activation": "elu"},
    "skrl_td3": {"activation": "relu", "action": "tanh", "action_low": -1.0, "action_high": 1.0},
    "skrl_dqn": {"activation": "relu", "action": "discrete"},
    "rl_games": {"activation": "elu", **BOUNDS},
    "tianshou_ppo": {"activation": "tanh", "action": "continuous", **BOUNDS},
    "tianshou_sac": {"activation": "tanh", "action": "tanh", **BOUNDS},
    "tianshou_discrete": {"activation": "tanh", "action": "discrete"},
}


@pytest.mark.parametrize("name", CASES)
def test_a_checkpoint_acts_as_its_program(name: str) -> None:
    read = load_checkpoint(FOLDER / f"{name}.pt", **CASES[name])
    policy = read.policy
    wanted = np.load(FOLDER / f"{name}.npy")
    np.testing.assert_allclose(reference.act(policy, OBSERVATIONS), wanted, atol=2e-6)
    assert wanted.std() > 0.1
    # All were saved with a spread of 1, some of it in [-1, 1].
    spread = {"rl_games": (2.5, 2.0), "tianshou_ppo": (2.5, 2.0)}
    spread |= dict.fromkeys(("tianshou_sac", "tianshou_discrete", "skrl_td3", "skrl_dqn"), ())
    assert read.learner.action_std == spread.get(name, (1.0, 1.0))


@pytest.mark.parametrize("name", CASES)
def test_an_activation_is_not_taken_in_silence(name: str) -> None:
    with pytest.raises(LilliputError, match=r"does not say which activation .*; give --activation relu\|tanh\|elu"):
        load_policy(FOLDER / f"{name}.pt", **{key: value for key, value in CASES[name].items() if key in BOUNDS})


def test_the_configuration_of_the_run_says_the_activation(tmp_path: Path) -> None:
    (tmp_path / "params").mkdir()
    config = tmp_path / "params" / "agent.yaml"
    config.write_text(
        "seed: 42\npolicy:\n  class_name: ActorCritic\n  activation: relu\n  size: !!python/tuple [1, 2]\n"
    )
    shutil.copy(FOLDER / "rsl_rl3.pt", tmp_path / "model_1500.pt")
    policy = load_policy(tmp_path / "model_1500.pt")
    assert policy.digest == load_policy(FOLDER / "rsl_rl3.pt", activation="relu").digest
    assert "the hidden activation is relu, as params/agent.yaml beside the file says" in policy.provenance.guesses
    assert load_policy(tmp_path / "model_1500.pt", activation="elu").digest != policy.digest
    config.write_text("policy:\n  activation: mish\n")
    with pytest.raises(LilliputError, match=r"agent.yaml: activation is 'mish'"):
        load_policy(tmp_path / "model_1500.pt")


def test_tianshou_s_max_action_is_in_no_file() -> None:
    said: Any = {"activation": "tanh", "action": "tanh"}
    with pytest.raises(LilliputError, match=r"tanh is times max_action, which is in no file, and the bounds are Box"):
        load_policy(FOLDER / "tianshou_ppo.pt", **said, **BOUNDS)
    assert load_policy(FOLDER / "tianshou_ppo.pt", **said, action_low=-1.0, action_high=1.0).provenance.guesses
    with pytest.raises(LilliputError, match="gives no discrete action"):
        load_policy(FOLDER / "tianshou_ppo.pt", activation="tanh", action="discrete")


def test_rsl_rl_leaves_the_action_to_the_environment(tmp_path: Path) -> None:
    free = load_policy(FOLDER / "rsl_rl2.pt", activation="elu")
    assert isinstance(free.action_space, spaces.Box)
    assert np.isinf(free.action_space.high).all()
    bounded = load_policy(FOLDER / "rsl_rl2.pt", activation="elu", action_low=-0.1, action_high=0.1)
    wanted = np.clip(reference.act(free, OBSERVATIONS), np.float32(-0.1), np.float32(0.1))
    np.testing.assert_array_equal(reference.act(bounded, OBSERVATIONS), wanted)


def test_rl_games_without_bounds_asks_and_with_infinite_ones_gives_the_mean() -> None:
    with pytest.raises(LilliputError, match="does not hold the bounds of its 2 actions"):
        load_policy(FOLDER / "rl_games.pt", activation="elu")
    mean = load_policy(FOLDER / "rl_games.pt", activation="elu", action_low=-np.inf, action_high=np.inf)
    low, high = np.array(BOUNDS["action_low"]), np.array(BOUNDS["action_high"])
    moved = np.clip(reference.act(mean, OBSERVATIONS), -1, 1) * (high - low) / 2 + (high + low) / 2
    np.testing.assert_allclose(moved, np.load(FOLDER / "rl_games.npy"), atol=2e-6)


MEMORIES: dict[str, list[str]] = {
    "rl_games_lstm": ["Standardize", "Dense", "Elu", "Dense", "Elu", "Lstm", "LayerNorm", "Dense"],
    "rl_games_gru": ["Standardize", "Gru", "Gru", "Dense", "Elu", "Dense", "Elu", "Dense"],
}


@pytest.mark.parametrize("name", MEMORIES)
def test_rl_games_memories_act_as_its_player(name: str) -> None:
    policy = load_policy(FOLDER / f"{name}.pt", activation="elu", **BOUNDS)
    wanted = np.load(FOLDER / f"{name}.npy")
    np.testing.assert_allclose(reference.act_episode(policy, OBSERVATIONS), wanted, atol=4e-6)
    assert [type(layer).__name__ for layer in policy.layers][:8] == MEMORIES[name]
    assert wanted.std() > 0.1
    assert "the memory begins with zeros, as in rl_games" in policy.provenance.guesses


def test_which_of_rl_games_parts_comes_first_is_told_by_sizes_or_not_at_all(tmp_path: Path) -> None:
    gates = {f"weight_{part}_l0": np.ones((4 * 8, 8), "f4") for part in ("ih", "hh")}
    gates |= {f"bias_{part}_l0": np.ones(32, "f4") for part in ("ih", "hh")}
    state = {f"a2c_network.rnn.rnn.{key}": array for key, array in gates.items()} | {"a2c_network.sigma": STD["std"]}
    for n in (8, 5):  # the one fits both ways, the other neither
        given = state | mlp("a2c_network.actor_mlp", [n, 8]) | named([8, 2], ["a2c_network.mu"])
        path = tmp_path / "last.pth"
        path.write_bytes(torch_file({"model": given}))
        if n == 5:
            assert load_policy(path, activation="elu", **BOUNDS).has_memory
            given |= named([13, 2], ["a2c_network.mu"])
            path.write_bytes(torch_file({"model": given}))
        with pytest.raises(
            LilliputError, match=r"which comes first .before_mlp., or what is joined .*; export the who"
        ):
            load_policy(path, activation="elu", **BOUNDS)


def test_a_spread_by_state_of_rl_games_is_no_part_of_the_action(tmp_path: Path) -> None:
    by_state = {key: array for key, array in RL_GAMES.items() if not key.endswith("sigma")}
    read = []
    for state in (RL_GAMES, by_state | named([8, 2], ["a2c_network.sigma"])):
        (tmp_path / "last.pth").write_bytes(torch_file({"model": state}))
        read.append(load_checkpoint(tmp_path / "last.pth", activation="elu", **BOUNDS))
    assert read[0].policy.digest == read[1].policy.digest
    assert [len(one.learner.action_std) for one in read] == [2, 0]


@pytest.mark.parametrize("name", ["rsl_rl5_beta", "rsl_rl5_heteroscedasticgaussian"])
def test_two_numbers_an_action_are_refused(name: str) -> None:
    every: list[Any] = [{}, {"activation": "elu"}, {"activation": "elu", "action": "continuous"}]
    for said in every:
        with pytest.raises(LilliputError, match=r"its 4 outputs may be a Beta distribution's .*export_policy_to_onnx"):
            load_policy(FOLDER / f"{name}.pt", **said)


def test_means_and_spreads_of_rsl_rl_3_are_no_actions(tmp_path: Path) -> None:
    two = mlp("actor", [5, 8, 6]) | mlp("critic", [5, 8, 1])
    path = tmp_path / "model_3.pt"
    path.write_bytes(torch_file({"model_state_dict": two, **RUN}))
    every: list[Any] = [{}, {"activation": "elu", "action": "continuous"}]
    for said in every:
        with pytest.raises(LilliputError, match=r"its 6 outputs are the means and spreads of 3 actions .*state_depend"):
            load_policy(path, **said)


RANGE: Any = {"action_low": -1.0, "action_high": 1.0}


def test_the_mean_of_a_beta_distribution_is_the_action_and_its_range_has_to_be_said(tmp_path: Path) -> None:
    path, wanted = FOLDER / "rsl_rl5_beta.pt", np.load(FOLDER / "rsl_rl5_beta.npy")
    policy = load_policy(path, activation="elu", action="beta", **RANGE)
    np.testing.assert_allclose(reference.act(policy, OBSERVATIONS), wanted, atol=2e-6)
    assert wanted.std() > 0.05
    with pytest.raises(LilliputError, match=r"range of its 2 actions .action_range.; give --action-low"):
        load_policy(path, activation="elu", action="beta")
    narrow = load_policy(path, activation="elu", action="beta", action_low=[0.0, -2.0], action_high=[1.0, 2.0])
    moved = (wanted + 1) / 2 * np.array([1, 4]) + np.array([0, -2])
    np.testing.assert_allclose(reference.act(narrow, OBSERVATIONS), moved, atol=4e-6)
    beta: dict[str, Any] = {"activation": "elu", "action": "beta"}
    for said in (beta, beta | RANGE):
        with pytest.raises(LilliputError, match="--action beta is of rsl_rl 4's checkpoints without"):
            load_policy(FOLDER / "rsl_rl5_gaussian.pt", **said)


def test_the_run_says_that_it_is_a_beta_distribution_and_its_range(tmp_path: Path) -> None:
    (tmp_path / "params").mkdir()
    config, path = tmp_path / "params" / "agent.yaml", tmp_path / "model_3.pt"
    shutil.copy(FOLDER / "rsl_rl5_beta.pt", path)
    cfg = "actor:\n  class_name: MLPModel\n  activation: elu\n  distribution_cfg:\n    class_name: {}\n"
    beta = cfg.format("rsl_rl.modules.distribution:BetaDistribution")
    config.write_text(beta)
    wanted = np.load(FOLDER / "rsl_rl5_beta.npy")
    np.testing.assert_allclose(reference.act(read := load_policy(path), OBSERVATIONS), wanted, atol=2e-6)
    assert any("-1 to 1: rsl_rl's default, none is in agent.yaml" in one for one in read.provenance.guesses)
    config.write_text(f"{beta}    action_range: [-3.0, 1.0]\n")
    np.testing.assert_allclose(reference.act(load_policy(path), OBSERVATIONS), wanted * 2 - 1, atol=4e-6)
    config.write_text(f"{beta}    action_range: [3.0, 1.0]\n")
    with pytest.raises(LilliputError, match="action_range is"):
        load_policy(path)
    config.write_text(beta)
    with pytest.raises(LilliputError, match="two an action"):
        load_policy(path, action="continuous")
    config.write_text(cfg.format("HeteroscedasticGaussianDistribution"))
    with pytest.raises(LilliputError, match="its 4 outputs are those of HeteroscedasticGaussian"):
        load_policy(path, action="beta", **RANGE)


STATISTICS = {f"{key}": np.ones((1, 5), "f4") for key in ("_mean", "_var", "_std")}
RUN = {"optimizer_state_dict": {"state": {}, "param_groups": []}, "iter": 3, "infos": None}


STD = {"std": np.ones(2, "f4")}
MEMORY = {"rnn.rnn.weight_ih_l0": np.ones(9, "f4")}
RL_GAMES = {"a2c_network.sigma": np.ones(2, "f4")} | mlp("a2c_network.actor_mlp", [5, 8])
RL_GAMES |= named([8, 2], ["a2c_network.mu"])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            {
                "model_state_dict": STD | mlp("actor", [5, 8, 2]) | {"memory_a.rnn.weight_ih_l0": np.ones(9, "f4")},
                **RUN,
            },
            "is almost rsl_rl's actor-critic, but has memory_a.rnn.weight_ih_l0 besides .it has a memory",
        ),
        (
            {"actor_state_dict": {"distribution.std_param": np.ones(2, "f4")} | MEMORY | mlp("mlp", [5, 8, 2]), **RUN},
            "is almost rsl_rl 4's model, but has rnn.rnn.weight_ih_l0 besides .it has a memory",
        ),
        (
            {"model_state_dict": STD | mlp("actor", [5, 8, 2]), "obs_norm_state_dict": STATISTICS, **RUN},
            "but has no obs_norm_state_dict.count",
        ),
        (
            {"model_state_dict": STD | mlp("actor", [5, 8, 2]), "amp_normalizer": STATISTICS, **RUN},
            "almost rsl_rl's actor-critic, but has amp_normalizer._mean, .* besides .its observations are normalized",
        ),
        (
            {
                "policy": {"log_std_parameter": np.ones(2, "f4")} | mlp("net_container", [5, 8, 2]),
                "mine_preprocessor": STATISTICS,
            },
            "mine_preprocessor",
        ),
        (
            {"model": RL_GAMES | mlp("a2c_network.actor_cnn", [5, 8])},
            "is almost rl_games' PPO .mu., but has a2c_network.actor_cnn",
        ),
    ],
)
def test_what_is_nearly_one_of_them_is_refused(value: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "model_3.pt"
    path.write_bytes(torch_file(value))
    with pytest.raises(LilliputError, match=message):
        load_policy(path, activation="elu")
