"""State dicts that fit a layout and may be something else: said, asked for, or refused; an option overrules a guess."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.policies.load.layout_states import BOX, batch, forward, relu, written
from tests.policies.load.torch_writer import mlp, named

from lilliput.errors import LilliputError
from lilliput.policies import reference
from lilliput.policies.load import load_policy

FREE: Any = {"action_low": -np.inf, "action_high": np.inf}
SIZES = [5, 64, 64, 3]
LOGSTD = {"actor_logstd": np.zeros((1, 3), "f4")}
SPREAD = {"std": np.ones(3, "f4")}


def listed(prefix: str, sizes: list[int] = SIZES) -> dict[str, np.ndarray]:
    """A ModuleList of Linear layers: no activation has a number between them."""
    return mlp(prefix, sizes, step=1)


def renamed(state: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {f"{prefix}.{key.partition('.')[2]}": array for key, array in state.items()}


CRITIC = mlp("critic", [5, 64, 1])
HIDDEN = listed("x", SIZES[:-1])
LAST = {f"{key}": array for key, array in listed("x").items() if key.startswith("x.2")}
LISTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "an actor-critic": (listed("actor") | CRITIC, {"action": "continuous", **FREE}),
    "rsl_rl": ({"model_state_dict": listed("actor") | CRITIC | SPREAD, "iter": 1}, {}),
    "rsl_rl 4": ({"actor_state_dict": listed("mlp") | {"distribution.std_param": SPREAD["std"]}, "iter": 1}, {}),
    "CleanRL": (listed("actor_mean") | CRITIC | LOGSTD, FREE),
    "a network": (listed("network"), {"action": "continuous", **FREE}),
    "layers": (listed("layers"), {"action": "continuous", **FREE}),
    "numbers alone": (
        {key.partition(".")[2]: array for key, array in listed("x").items()},
        {"action": "continuous", **FREE},
    ),
    "skrl": ({"policy": listed("net_container") | {"log_std_parameter": SPREAD["std"]}}, {}),
    "rl_games": (
        {
            "model": renamed(HIDDEN, "a2c_network.actor_mlp")
            | {f"a2c_network.mu.{key[4:]}": array for key, array in LAST.items()}
            | {"a2c_network.sigma": SPREAD["std"]}
        },
        FREE,
    ),
    "tianshou": (
        {
            "model": renamed(HIDDEN, "actor.preprocess.model.model")
            | {f"actor.mu.model.0.{key[4:]}": array for key, array in LAST.items()}
            | {"actor.sigma_param": np.zeros((3, 1), "f4")}
        },
        {"action": "continuous", **FREE},
    ),
}


@pytest.mark.parametrize("what", LISTS)
def test_an_activation_stands_between_the_layers_of_a_list(what: str, tmp_path: Path) -> None:
    value, said = LISTS[what]
    path = written(value, tmp_path)
    with pytest.raises(LilliputError, match=r"--activation"):
        load_policy(path, **said)
    with pytest.raises(LilliputError, match=r"whether its layers are all that there is: .* --plain if each layer"):
        load_policy(path, activation="tanh", **said)
    state, names = listed("x"), ["x.0", "x.1", "x.2"]
    for activation, hidden in (("tanh", np.tanh), ("relu", relu), ("none", lambda x: x)):
        policy = load_policy(path, activation=activation, plain=activation != "none", **said)
        np.testing.assert_allclose(reference.act(policy, batch(5)), forward(state, names, batch(5), hidden), atol=1e-4)
        assert any("are a list: the activation" in one for one in policy.provenance.guesses) == (activation != "none")


def test_a_list_with_activations_or_norms_among_it_is_refused(tmp_path: Path) -> None:
    state = mlp("actor", SIZES)
    mixed = {key.replace("actor.2", "actor.1").replace("actor.4", "actor.3"): array for key, array in state.items()}
    normed = {key.replace("actor.2", "actor.3"): array for key, array in listed("actor").items()}
    normed = {key.replace("actor.1", "actor.2"): array for key, array in normed.items()}
    normed |= {f"actor.1.{key}": np.ones(64, "f4") for key in ("weight", "bias")}
    for value in (mixed, normed):
        path = written(value | CRITIC, tmp_path)
        with pytest.raises(LilliputError, match="where the program applies it is in no file: give --activation none"):
            load_policy(path, activation="tanh", action="continuous", **FREE)
        norm = any(array.ndim == 1 for key, array in value.items() if key.endswith("weight"))
        assert load_policy(path, activation="none", action="continuous", plain=norm, **FREE)


@pytest.mark.parametrize("kind", ["i1", "i8", "b1"])
def test_integers_are_no_weights(kind: str, tmp_path: Path) -> None:
    states = (
        mlp("actor", SIZES) | CRITIC,
        named([5, 32, 16, 3], ["a", "b", "c"]),
        named([5, 256, 256, 3], ["l1", "l2", "l3"]),
    )
    for state in states:
        codes = {key: (array * 100).astype(kind) for key, array in state.items()}
        for one in (codes, {**state, next(iter(state)): codes[next(iter(state))]}):
            with pytest.raises(LilliputError, match=r"is of (int|bool).*; weights are of float16"):
                load_policy(written(one, tmp_path), activation="tanh", action="continuous", **FREE)
    half = {key: array.astype("f2") for key, array in states[0].items()}
    assert load_policy(written(half, tmp_path), activation="tanh", action="discrete")


@pytest.mark.parametrize(
    "value",
    [
        mlp("quantile_net", [5, 64, 4 * 50]),
        mlp("model.model.model", [5, 64, 4 * 20]),
        mlp("actor", [5, 64, 2 * 51]) | CRITIC,
        mlp("network", [5, 64, 2 * 51]),
        named([5, 64, 32, 3 * 51], ["fc1", "fc2", "fc3"]),
        named([5, 256, 256, 3 * 51], ["l1", "l2", "l3"]),
    ],
    ids=["QR-DQN", "tianshou", "actor", "network", "fc", "l"],
)
def test_many_choices_may_be_distributions_of_few(value: Any, tmp_path: Path) -> None:
    path = written(value, tmp_path)
    said: Any = {"activation": "relu", "action": "discrete"}
    with pytest.raises(LilliputError, match=r"outputs may be a distribution of each choice's value .* --plain if"):
        load_policy(path, **said)
    with pytest.raises(LilliputError, match=r"CartPole-v1 takes Discrete\(2\)"):
        load_policy(path, **said, environment="CartPole-v1")
    assert any("one number a choice" in one for one in load_policy(path, **said, plain=True).provenance.guesses)


def test_a_guess_of_many_choices_is_asked_about_as_a_claim_of_them_is(tmp_path: Path) -> None:
    """A Q-network of CleanRL's sizes, whose outputs nobody said anything of."""
    path = written(mlp("network", [5, 120, 84, 2 * 21]), tmp_path)
    with pytest.raises(LilliputError, match=r"42 outputs, which may be a distribution.*--action discrete and --plain"):
        load_policy(path)
    assert load_policy(path, action="discrete", plain=True)
    agent = tmp_path / "ppo.cleanrl_model"
    agent.write_bytes(written(mlp("actor", [5, 64, 64, 6 * 4]) | CRITIC, tmp_path).read_bytes())
    with pytest.raises(LilliputError, match=r"its 24 outputs may be several choices at once; --env tells it too"):
        load_policy(agent)
    assert load_policy(agent, plain=True)
    few = written(mlp("network", [5, 120, 84, 3]), tmp_path)
    assert any("Q-values of 3 choices" in one for one in load_policy(few).provenance.guesses)


@pytest.mark.parametrize(
    "key", ["n_atoms", "num_atoms", "atoms", "n_quantiles", "num_quantiles", "nAtoms", "atom_size"]
)
def test_a_setting_of_several_numbers_a_choice_is_asked_about(key: str, tmp_path: Path) -> None:
    path = written({"model_weights": mlp("network", [5, 120, 84, 2 * 5]), "args": {key: 5}}, tmp_path)
    with pytest.raises(LilliputError, match=rf"args.{key} is 5: its 10 outputs may be a distribution"):
        load_policy(path)
    assert load_policy(path, plain=True)
    critic = written(
        {"model_state_dict": mlp("actor", [5, 8, 3]) | CRITIC | {"std": np.ones(3, "f4")}, key: 5}, tmp_path
    )
    assert load_policy(critic, activation="elu")  # real actions: the critic's


def test_what_few_choices_are_not_taken_for_is_said_unless_an_environment_takes_as_many(tmp_path: Path) -> None:
    path = written(mlp("net_container", [6, 64, 3]), tmp_path)
    said: Any = {"activation": "relu", "action": "discrete"}
    sentence = "its 3 outputs are taken as one number a choice: not as"
    assert any(one.startswith(sentence) for one in load_policy(path, **said).provenance.guesses)
    known = load_policy(path, **said, environment="Acrobot-v1")
    assert not any("number a choice" in one for one in known.provenance.guesses)


@pytest.mark.parametrize("brain", [False, True])
def test_weights_of_16_bits_are_said(brain: bool, tmp_path: Path) -> None:
    state = mlp("net", SIZES)
    half = {key: array.astype("f2") for key, array in state.items()}
    if brain:  # bfloat16: the upper half of a float32
        half = {key: (array.view("u4") & 0xFFFF0000).astype("u4").view("f4") for key, array in state.items()}
    for value, expected in ((half, True), (state, False)):
        guesses = load_policy(written(value, tmp_path), activation="relu", action="discrete").provenance.guesses
        assert any("numbers of 16 bits" in one for one in guesses) == expected


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (named([5, 256, 256, 3], ["l1", "l2", "l3"]), {"action_low": -1.0, "action_high": 1.0}),
        (mlp("actor_mean", SIZES) | CRITIC | LOGSTD, FREE),
        ({"model_state_dict": mlp("actor", SIZES) | CRITIC | SPREAD, "iter": 1}, {"activation": "elu"}),
        ({"policy": mlp("net_container", SIZES) | {"log_std_parameter": SPREAD["std"]}}, {"activation": "elu"}),
    ],
    ids=["sfujim", "cleanrl", "rsl_rl", "skrl"],
)
def test_layers_of_one_size_are_said_to_follow_one_another(state: Any, said: Any, tmp_path: Path) -> None:
    guesses = load_policy(written(state, tmp_path), **said).provenance.guesses
    assert sum("a residual connection" in one for one in guesses) == 1


def test_layers_of_different_sizes_leave_no_room_for_sums(tmp_path: Path) -> None:
    state = {"model_state_dict": mlp("actor", [5, 64, 32, 3]) | CRITIC | SPREAD, "iter": 1}
    guesses = load_policy(written(state, tmp_path), activation="elu").provenance.guesses
    assert not any("residual" in one for one in guesses)


def test_what_rsl_rl_keeps_in_no_file_is_said_or_answered(tmp_path: Path) -> None:
    row = np.ones((1, 5), "f4")
    statistics = {f"actor_obs_normalizer.{key}": row for key in ("_mean", "_var", "_std")}
    statistics["actor_obs_normalizer.count"] = np.asarray(9)
    path = written({"model_state_dict": mlp("actor", SIZES) | CRITIC | SPREAD | statistics, "iter": 1}, tmp_path)
    guesses = load_policy(path, activation="elu").provenance.guesses
    assert any("epsilon and clip are not in the file: 0.01 and none" in one for one in guesses)
    assert any("last_activation" in one for one in guesses)
    told = load_policy(path, activation="elu", action="tanh", action_low=-1.0, action_high=1.0).provenance.guesses
    assert not any("last_activation" in one for one in told)


def test_a_layer_norm_of_the_observation_stands_before_cleanrls_layers(tmp_path: Path) -> None:
    norm = {"actor_mean.0.weight": np.full(5, 2, "f4"), "actor_mean.0.bias": np.ones(5, "f4")}
    behind = named(SIZES, ["actor_mean.1", "actor_mean.3", "actor_mean.5"])
    policy = load_policy(written(norm | behind | CRITIC | LOGSTD, tmp_path), activation="tanh", plain=True, **FREE)
    x = batch(5)
    centred = x - x.mean(1, keepdims=True)
    normed = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5) * 2 + 1
    expected = forward(behind, ["actor_mean.1", "actor_mean.3", "actor_mean.5"], normed, np.tanh)
    np.testing.assert_allclose(reference.act(policy, x), expected, atol=1e-5)


def test_an_option_overrules_the_guess_of_a_script(tmp_path: Path) -> None:
    bounds = {"action_scale": np.ones(3, "f4"), "action_bias": np.zeros(3, "f4")}
    td3 = named([5, 16, 16, 3], ["fc1", "fc2", "fc_mu"]) | bounds
    mean = mlp("actor_mean", SIZES)
    dqn = mlp("network", [5, 120, 84, 3])
    actor = mlp("actor", SIZES)
    cases: list[tuple[Any, Any, Any, dict[str, Any]]] = [
        (mean | CRITIC | LOGSTD, (mean, ["actor_mean.0", "actor_mean.2", "actor_mean.4"]), lambda x: x, FREE),
        (dqn, (dqn, ["network.0", "network.2", "network.4"]), lambda x: x.argmax(1), {}),
        (td3, (td3, ["fc1", "fc2", "fc_mu"]), np.tanh, {}),
    ]
    for value, (state, names), head, said in cases:
        path = written(value, tmp_path)
        assert any(
            "hidden activation is not in the file" in one for one in load_policy(path, **said).provenance.guesses
        )
        policy = load_policy(path, activation="silu", **said)
        wanted = head(forward(state, names, batch(5), lambda h: h / (1 + np.exp(-h))))
        np.testing.assert_allclose(reference.act(policy, batch(5)), wanted, atol=1e-4)
        assert not any("hidden activation" in one for one in policy.provenance.guesses)
    path = written(actor | CRITIC, tmp_path, "x.cleanrl_model")
    policy = load_policy(path, activation="relu", action="continuous", **BOX)
    wanted = np.clip(forward(actor, ["actor.0", "actor.2", "actor.4"], batch(5), relu), -2, 2)
    np.testing.assert_allclose(reference.act(policy, batch(5)), wanted, atol=1e-4)
    squashed = load_policy(written(mean | CRITIC | LOGSTD, tmp_path), action="tanh", **BOX)
    wanted = 2 * np.tanh(forward(mean, ["actor_mean.0", "actor_mean.2", "actor_mean.4"], batch(5), np.tanh))
    np.testing.assert_allclose(reference.act(squashed, batch(5)), wanted, atol=1e-4)


@pytest.mark.parametrize(
    ("folder", "sizes", "is_script"),
    [
        ("CartPole-v1__ppo__1__1700000000", [4, 64, 64, 2], True),
        ("CartPole-v1__ppo__1__1700000000", [4, 32, 32, 2], False),
        ("CartPole-v1__ppo__1__1700000000", [4, 64, 64, 3], False),
        ("CartPole-v1__mine__first__try", [4, 64, 64, 2], False),
        ("Pendulum-v1__mine__1__2", [3, 64, 64, 1], False),
    ],
)
def test_a_folder_s_name_alone_makes_no_file_a_script_s(
    folder: str, sizes: list[int], is_script: bool, tmp_path: Path
) -> None:
    (tmp_path / folder).mkdir()
    path = written(mlp("actor", sizes) | mlp("critic", [sizes[0], 64, 1]), tmp_path / folder, "agent.pt")
    if is_script:
        assert load_policy(path).provenance.framework == "cleanrl"
    else:
        with pytest.raises(LilliputError, match=r"give --activation .* and --action"):
            load_policy(path)
    assert load_policy(path, activation="elu", action="continuous", **FREE)


@pytest.mark.parametrize(
    "names",
    [
        ["enc", "mu", "sg"],
        ["enc", "mean", "other"],
        ["out", "inp", "hid"],
        ["enc", "pi", "x"],
        ["body", "action_head", "x"],
        ["l0", "res1", "res2"],
        ["l0", "skip", "last"],
        ["mu_layer", "a", "b"],
        ["net.body.0", "net.mu.0", "net.other.0"],
    ],
)
def test_layers_whose_names_say_another_order_are_no_chain(names: list[str], tmp_path: Path) -> None:
    path = written(named([8, 8, 8, 8], names), tmp_path)
    with pytest.raises(LilliputError, match=r"by its name it is the last|no layout|is almost"):
        load_policy(path, activation="tanh", action="continuous", **FREE)
    chain = written(named([8, 8, 8, 8], ["body", "hidden", "out"]), tmp_path)
    assert load_policy(
        chain, activation="tanh", action="continuous", plain=True, action_low=[-1.0] * 8, action_high=[1.0] * 8
    )


def test_one_output_may_be_a_critic_s(tmp_path: Path) -> None:
    state = named([5, 256, 256, 1], ["l1", "l2", "l3"])
    with pytest.raises(LilliputError, match="nothing in it says whether it is an actor's or a critic's; give --action"):
        load_policy(written(state, tmp_path), **BOX)
    plain = load_policy(written(state, tmp_path), action="tanh", **BOX)
    for value, name in (
        (state, "TD3_Pendulum_actor.pt"),
        ({"actor": state}, "y.pt"),
        ({"net": state, "max_action": 2.0}, "z.pt"),
    ):
        assert load_policy(written(value, tmp_path, name), **BOX).digest == plain.digest


@pytest.mark.parametrize(
    "value",
    [
        {"model_state_dict": mlp("actor", SIZES) | {"std": np.ones(5, "f4")}, "iter": 1},
        {"policy": mlp("net_container", SIZES) | {"log_std_parameter": np.ones(2, "f4")}},
        {**mlp("actor_mean", SIZES), **CRITIC, "actor_logstd": np.zeros((1, 5), "f4")},
    ],
)
def test_a_spread_of_other_actions_refuses(value: Any, tmp_path: Path) -> None:
    with pytest.raises(LilliputError, match=r"has \d numbers for 3 actions; they must agree"):
        load_policy(written(value, tmp_path), activation="tanh", **FREE)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            {
                "model_state_dict": mlp("actor", SIZES) | CRITIC | SPREAD,
                "obs_rms": {"mean": np.ones(5), "var": np.ones(5)},
            },
            r"almost rsl_rl's actor-critic, but has obs_rms.mean, obs_rms.var besides .its observations are normalized",
        ),
        (
            {**LISTS["rl_games"][0], "running_mean_std": {"running_mean": np.ones(5), "running_var": np.ones(5)}},
            r"almost rl_games' PPO .mu., but has running_mean_std.running_mean, .* besides .its observations are norm",
        ),
    ],
)
def test_statistics_outside_of_the_network_are_named(value: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(LilliputError, match=message):
        load_policy(written(value, tmp_path), activation="elu", **FREE)


NEUTRAL: dict[str, dict[str, np.ndarray]] = {
    "a residual block, two encoders, or a gate": named([6, 32, 32, 3], ["a", "b", "c"]),
    "a sum of the observation": named([8, 8, 3], ["a", "b"]),
    "a jump over two": named([6, 32, 16, 32, 3], ["a", "b", "c", "d"]),
    "weights the other way round": named([16, 16], ["a"]) | named([16, 3], ["b"]),
    "blocks in a list": listed("blocks", [6, 32, 32, 32, 3]),
    "two numbers an action": named([6, 32, 16, 4], ["a", "b", "c"]),
    "a norm of an actor-critic": mlp("actor", [6, 32, 3], step=3)
    | {f"actor.1.{key}": np.ones(32, "f4") for key in ("weight", "bias")}
    | CRITIC,
}


@pytest.mark.parametrize("what", NEUTRAL)
def test_layers_that_may_not_be_all_there_is_are_asked_about(what: str, tmp_path: Path) -> None:
    """Torch gives the same keys to a chain and to sums, gates and group norms of the same sizes."""
    path = written(NEUTRAL[what], tmp_path)
    said: Any = {"activation": "relu", "action": "continuous", **FREE}
    with pytest.raises(LilliputError, match=r"does not say whether its layers are all.* give --plain if .* ONNX$"):
        load_policy(path, **said)
    assert load_policy(path, plain=True, **said)


def test_sizes_that_leave_no_room_are_not_asked_about(tmp_path: Path) -> None:
    said: Any = {"activation": "relu", "action": "continuous", **FREE}
    for state in (
        named([6, 32, 16, 3], ["a", "b", "c"]),
        mlp("net", [6, 32, 32, 3]),
        mlp("actor", [6, 32, 32, 4]) | CRITIC,
        named([6, 32, 32, 4], ["fc1", "fc2", "fc3"]),
    ):
        path = written(state, tmp_path)
        guesses = load_policy(path, **said).provenance.guesses
        even = "its 4 outputs are taken as actions, not as the means and spreads of 2 actions"
        assert (even in guesses) == (len(list(state.values())[-1]) == 4 or "critic.0.weight" in state)
        with pytest.raises(LilliputError, match="needs no plain to be read"):
            load_policy(path, plain=True, **said)
    two = written(named([6, 32, 16, 4], ["a", "b", "c"]), tmp_path)
    assert load_policy(two, activation="relu", action="continuous", action_low=[-1.0] * 4, action_high=[1.0] * 4)
    assert load_policy(two, activation="relu", action="discrete")


def test_what_a_refusal_asked_for_stays_right_when_the_rest_is_answered(tmp_path: Path) -> None:
    """--plain is asked for before the bounds, which tell as much: it must not be refused then."""
    path = written(named([6, 32, 16, 4], ["a", "b", "c"]), tmp_path)
    said: Any = {"activation": "relu", "action": "continuous"}
    once: tuple[Any, ...] = ({"action_low": -1.0, "action_high": 1.0}, {"action_low": [-1.0], "action_high": [1.0]})
    for one in once:
        with pytest.raises(LilliputError, match="4 outputs may be the means and spreads of 2 actions"):
            load_policy(path, **said, **one)
        assert load_policy(path, **said, **one, plain=True)
    with pytest.raises(LilliputError, match="bounds of its 4 actions"):
        load_policy(path, **said, plain=True)
    assert load_policy(path, **said, plain=True, action_low=[-1.0] * 4, action_high=[1.0] * 4)
