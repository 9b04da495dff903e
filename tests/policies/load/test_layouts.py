"""State dicts by their whole set of keys: what is known acts as its program does, what is nearly known is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.policies.load.layout_states import (
    ACTOR_CRITIC,
    BOX,
    CONTINUOUS,
    CONVOLUTION,
    DQN,
    ERL,
    HIDDEN,
    LAYER_NORM,
    MEAN,
    PPO,
    PRANZ,
    SFUJIM,
    UDACITY,
    VAR,
    State,
    V,
    batch,
    erl_norm,
    forward,
    relu,
    squashed,
    torch_norm,
    written,
)
from tests.policies.load.torch_writer import Pickled, dense, mlp, named

from lilliput.errors import LilliputError
from lilliput.policies import reference, spaces
from lilliput.policies.load import load_checkpoint, load_policy, state_dict
from lilliput.policies.load.saved import saved


@pytest.mark.parametrize(
    ("value", "options", "expected"),
    [
        (SFUJIM, BOX, lambda x: squashed(forward(SFUJIM, ["l1", "l2", "l3"], x, relu))),
        (
            {"epoch": 3, "actor": SFUJIM, "critic": mlp("q", [7, 4, 1]), "max_action": 2.0},
            BOX,
            lambda x: squashed(forward(SFUJIM, ["l1", "l2", "l3"], x, relu)),
        ),
        (
            SFUJIM,
            {"activation": "tanh", "action": "discrete"},
            lambda x: forward(SFUJIM, ["l1", "l2", "l3"], x, np.tanh).argmax(1),
        ),
        (PRANZ, BOX, lambda x: squashed(forward(PRANZ, ["linear1", "linear2", "mean_linear"], x, relu))),
        (HIDDEN, BOX, lambda x: squashed(forward(HIDDEN, ["hidden1", "hidden2", "mu"], x, relu))),
        (LAYER_NORM, BOX, lambda x: squashed(forward(LAYER_NORM, ["fc1", "fc2", "mu"], x, relu, torch_norm))),
        (ERL, BOX, lambda x: squashed(forward(ERL, ["w_l1", "w_l2", "w_out"], x, np.tanh, erl_norm))),
        (
            UDACITY,
            {"activation": "relu", "action": "discrete"},
            lambda x: forward(UDACITY, ["fc1", "fc2", "fc3"], x, relu).argmax(1),
        ),
        (
            UDACITY,
            {"activation": "elu", "action": "tanh", **BOX},
            lambda x: squashed(
                forward(UDACITY, ["fc1", "fc2", "fc3"], x, lambda h: np.where(h > 0, h, np.expm1(np.minimum(h, 0))))
            ),
        ),
        (
            {
                "current_policy_state_dict": CONTINUOUS,
                "critic_state_dict": named([5, 4, 1], ["fc1", "value"]),
                "actor_optimizer_state_dict": {
                    "state": {0: {"step": 1, "exp_avg": np.ones(3, "f4")}},
                    "param_groups": [],
                },
                "iteration": 1000,
                "state_rms_mean": MEAN,
                "state_rms_var": VAR,
                "state_rms_count": 7.5,
            },
            BOX,
            lambda x: np.clip(
                forward(CONTINUOUS, ["fc1", "fc2", "mu"], np.clip((x - MEAN) / np.sqrt(VAR + 1e-8), -5, 5), np.tanh),
                -2,
                2,
            ),
        ),
        (
            ACTOR_CRITIC,
            {"activation": "tanh", "action": "discrete"},
            lambda x: forward(ACTOR_CRITIC, ["actor.0", "actor.2", "actor.4"], x, np.tanh).argmax(1),
        ),
        (
            ACTOR_CRITIC,
            {"activation": "relu", "action": "continuous", **BOX},
            lambda x: np.clip(forward(ACTOR_CRITIC, ["actor.0", "actor.2", "actor.4"], x, relu), -2, 2),
        ),
        (
            PPO,
            BOX,
            lambda x: np.clip(forward(PPO, ["actor_mean.0", "actor_mean.2", "actor_mean.4"], x, np.tanh), -2, 2),
        ),
        (DQN, {}, lambda x: forward(DQN, ["network.0", "network.2", "network.4"], x, relu).argmax(1)),
        (
            mlp("net", [5, 8, 3]),
            {"activation": "tanh", "action": "discrete"},
            lambda x: forward(mlp("net", [5, 8, 3]), ["net.0", "net.2"], x, np.tanh).argmax(1),
        ),
        (
            named([5, 8, 8, 2], ["first", "second", "out"]),
            {"activation": "silu", "action": "continuous", "plain": True, **BOX},
            lambda x: np.clip(
                forward(
                    named([5, 8, 8, 2], ["first", "second", "out"]),
                    ["first", "second", "out"],
                    x,
                    lambda h: h / (1 + np.exp(-h)),
                ),
                -2,
                2,
            ),
        ),
    ],
)
def test_a_known_layout_acts_as_its_program(
    value: Any, options: dict[str, Any], expected: Callable[[np.ndarray], np.ndarray], tmp_path: Path
) -> None:
    policy = load_policy(written(value, tmp_path), **options)
    x = batch(5)
    wanted = expected(x)
    np.testing.assert_allclose(reference.act(policy, x), wanted, atol=3e-5)
    assert len(np.unique(wanted)) > 1


@pytest.mark.parametrize("wrap", ["_orig_mod.{}", "module.{}", "module._orig_mod.{}", "_orig_mod.module.{}"])
def test_the_prefixes_of_compile_and_data_parallel_are_taken_off(wrap: str, tmp_path: Path) -> None:
    plain = load_policy(written(DQN, tmp_path))
    wrapped = {wrap.format(key): array for key, array in DQN.items()}
    assert load_policy(written({"model_state_dict": wrapped}, tmp_path)).digest == plain.digest
    inside = {f"actor._orig_mod.{key.removeprefix('actor.')}": array for key, array in ACTOR_CRITIC.items()}
    inside = {key.replace("actor._orig_mod.critic", "critic.module"): array for key, array in inside.items()}
    said: Any = {"activation": "tanh", "action": "discrete"}
    assert (
        load_policy(written(inside, tmp_path), **said).digest
        == load_policy(written(ACTOR_CRITIC, tmp_path), **said).digest
    )


def test_no_two_layouts_take_the_same_file() -> None:
    assert len({one.what for one in state_dict.LAYOUTS}) == len(state_dict.LAYOUTS)
    for state in (SFUJIM, PRANZ, HIDDEN, LAYER_NORM, ERL, UDACITY, ACTOR_CRITIC, PPO, DQN):
        keys = saved(state, "x").arrays
        fits = [one.what for one in state_dict.LAYOUTS if not one.missing(keys) and not one.left_over(keys)]
        assert len(fits) == 1, fits


def extra(state: State, **more: Any) -> dict[str, Any]:
    return {**state, **{key.replace("__", "."): value for key, value in more.items()}}


NEARLY = {
    "rsl_rl's standard deviation": (extra(ACTOR_CRITIC, std=V), "which activation .*elu by rsl_rl's default"),
    "a deviation of another name": (extra(ACTOR_CRITIC, std_dev=V), "std_dev besides .it has the spread of real act"),
    "a memory before the actor": (extra(ACTOR_CRITIC, memory_a__rnn__weight_ih_l0=V), "it has a memory"),
    "an estimator": (ACTOR_CRITIC | mlp("estimator.encoder", [9, 4, 2]), "another network feeds the actor"),
    "pictures that are pooled": (
        ACTOR_CRITIC | {f"image_conv.{i}.weight": CONVOLUTION["weight"] for i in (0, 3, 5)},
        "pools them, and no layer here does: train it with a stride of 2",
    ),
    "images before the actor": (ACTOR_CRITIC | {"image_conv.0.weight": CONVOLUTION["weight"]}, "for images"),
    "a batch norm in the actor": (
        extra(ACTOR_CRITIC, actor__1__running_mean=V, actor__1__num_batches_tracked=V[0].reshape(())),
        "a batch normalization stands among its layers",
    ),
    "a batch norm of observations": (
        extra(ACTOR_CRITIC, obs_norm__running_mean=V, obs_norm__num_batches_tracked=V[0].reshape(())),
        "observations are normalized",
    ),
    "a normalizer in the actor": (extra(ACTOR_CRITIC, actor_obs_normalizer__mean=V), "observations are normalized"),
    "a trunk for actor and critic": (ACTOR_CRITIC | mlp("shared", [5, 16]), "shared.0.weight, shared.0.bias besides"),
    "a second actor": (ACTOR_CRITIC | mlp("actor2", [5, 16, 3]), "actor2.0.weight"),
    "an actor and critic of no program": (ACTOR_CRITIC, "give --activation .* and --action"),
    "an actor alone": (mlp("actor", [5, 16, 3]), "give --activation .* and --action"),
    "a dropout between": (mlp("actor", [5, 16, 3], step=3), "does not say|modules without parameters"),
    "a mean without its deviation": (
        {key: array for key, array in PPO.items() if key != "actor_logstd"},
        "almost CleanRL's continuous PPO, but has no actor_logstd",
    ),
    "a part of an agent": (
        {f"agent.{key}": array for key, array in PPO.items()},
        "has the keys of CleanRL's continuous PPO behind 'agent.': a part .* save that part's state_dict.. alone",
    ),
    "a deviation by state": (extra(PPO, actor_logstd2=V), "actor_logstd2 besides"),
    "a running mean beside the mean": (extra(PPO, obs_rms__mean=V), "obs_rms.mean besides .its observations are norm"),
    "other sizes than CleanRL's": (
        {"actor_logstd": V[:2]} | mlp("critic", [5, 32, 1]) | mlp("actor_mean", [5, 32, 2]),
        "which activation stands between its layers .tanh in CleanRL",
    ),
    "a categorical Q-network": (extra(DQN, atoms=V), "distributions over atoms"),
    "a Gaussian named network": (extra(mlp("network", [5, 64, 64, 2]), log_std=V[:2]), "log_std besides"),
    "somebody's network": (mlp("network", [5, 64, 64, 3]), "give --activation .* and --action"),
    "a dueling network": (
        mlp("feature", [5, 16]) | mlp("advantage", [16, 8, 3]) | mlp("value", [16, 8, 1]),
        "no layout|is almost",
    ),
    "noisy layers": ({f"network.0.{key}": V for key in ("weight_mu", "weight_sigma", "bias_mu")}, "no layout|almost"),
    "a Q-network of small images": (
        {f"network.0.{key}": array for key, array in CONVOLUTION.items()} | mlp("network.3", [64, 6]),
        "no layout|is almost",
    ),
    "TD3 without its scale": (named([5, 16, 16, 2], ["fc1", "fc2", "fc_mu"]), "action_scale|give --activation"),
    "SAC with a third layer": (
        extra(
            named([5, 16, 16, 2], ["fc1", "fc2", "fc_mean"])
            | dense("fc_logstd", 16, 2, np.random.default_rng(0))
            | dense("fc3", 16, 16, np.random.default_rng(0)),
            action_scale=V[:2],
            action_bias=V[:2],
        ),
        "is almost CleanRL's SAC, but has fc3.weight, fc3.bias besides",
    ),
    "four layers": (named([5, 16, 16, 16, 2], ["l1", "l2", "l3", "l4"]), "give --activation .* and --action"),
    "TD3's critic": (
        named([7, 16, 16, 1], ["l1", "l2", "l3"]) | named([7, 16, 16, 1], ["l4", "l5", "l6"]),
        "almost sfujim's TD3, but has l4.weight",
    ),
    "batch norms instead of layer norms": (extra(LAYER_NORM, bn1__running_mean=V), "bn1.running_mean besides"),
    "one layer norm": (
        {key: array for key, array in LAYER_NORM.items() if not key.startswith("bn2")},
        "but has no bn2.weight|bias",
    ),
    "SAC with a deep mean": (PRANZ | dense("linear3", 256, 256, np.random.default_rng(0)), "linear3.weight"),
    "SAC without a deviation": (named([5, 16, 16, 2], ["linear1", "linear2", "mean_linear"]), "give --activation"),
    "heads that share a layer": (
        named([5, 16], ["fc1"]) | named([16, 2], ["fc2"]) | named([16, 1], ["fc3"]),
        "does not say|a weight of shape",
    ),
    "an actor and a critic that fit": (
        named([4, 8, 4], ["actor.a", "actor.b"]) | named([4, 8, 1], ["critic.a", "critic.b"]),
        "no layout|is almost",
    ),
    "statistics behind the actor": ((SFUJIM, {"mean": V, "var": V}), "has .1..mean, .1..var besides"),
    "statistics beside the state": ({"model_state_dict": PPO, "obs_mean": V, "obs_var": V}, "obs_mean"),
    "statistics as numbers": ({"model": DQN, "obs_mean": [0.0, 1.0, 2.0, 3.0, 4.0]}, "'obs_mean', 5 numbers"),
    "another activation by its config": ({"model": DQN, "args": {"activation": "nn.Tanh"}}, "args.activation is 'nn.T"),
    "TD3's names and other sizes": (named([5, 64, 64, 2], ["l1", "l2", "l3"]), "give --activation .* and --action"),
    "SAC's names and other sizes": (
        named([5, 64, 64, 2], ["linear1", "linear2", "mean_linear"]) | named([64, 2], ["log_std_linear"]),
        "give --activation .* and --action",
    ),
    "a note that observations were normalized": (
        {"model": DQN, "config": {"normalize_observations": True}},
        "normalize_observations is true and holds no statistics",
    ),
    "a Stable-Baselines3 policy out of its zip": (
        mlp("quantile_net.quantile_net", [5, 64, 6]) | mlp("quantile_net_target.quantile_net", [5, 64, 6]),
        "give the zip itself",
    ),
    "weights with a norm of their own": (
        {"network.0.weight_g": V, "network.0.weight_v": np.ones((5, 5), "f4"), "network.0.bias": V},
        "no layout|is almost",
    ),
    "pruned weights with their masks": (
        {"actor.0.weight_orig": np.ones((5, 5), "f4"), "actor.0.weight_mask": np.ones((5, 5), "f4"), "actor.0.bias": V},
        "no layout|is almost",
    ),
    "a learned slope": ({"network.1.weight": V[:1]} | DQN, "network.1 has weight|module network.1|give --activation"),
    "an average beside the network": ({"model": DQN, "ema": DQN}, "two networks of the same layout"),
    "codes of a quantized network": (extra(DQN, network__0__scale=V[:1]), "network.0.scale besides"),
    "an object beside the state": (
        {"model": DQN, "obs_rms": Pickled("baselines.RunningMeanStd", {"mean": V})},
        "a pickled baselines.RunningMeanStd under 'obs_rms'",
    ),
    "layers that do not fit": (DQN | {"network.2.weight": np.ones((84, 99), "f4")}, "gets an input of shape"),
}


@pytest.mark.parametrize("what", NEARLY)
def test_what_is_nearly_known_is_refused_with_the_reason(what: str, tmp_path: Path) -> None:
    value, message = NEARLY[what]
    with pytest.raises(LilliputError, match=message) as caught:
        load_policy(written(value, tmp_path))
    assert "\n" not in str(caught.value)
    assert "save the whole state_dict" not in str(caught.value)


@pytest.mark.parametrize("what", [what for what, (_, message) in NEARLY.items() if "activation" not in message])
def test_no_answer_makes_somebody_else_s_file_one_of_ours(what: str, tmp_path: Path) -> None:
    path = written(NEARLY[what][0], tmp_path)
    for action in ("discrete", "continuous", "tanh"):
        with pytest.raises(LilliputError):
            load_policy(path, activation="relu", action=action, **({} if action == "discrete" else BOX))


def test_norms_and_statistics_that_are_said_are_heard(tmp_path: Path) -> None:
    policy = load_policy(written(LAYER_NORM, tmp_path), **BOX)
    said = "norms are taken as torch's LayerNorm, epsilon 1e-05, not as group or batch norms"
    assert said in policy.provenance.guesses
    noted = written({"model": DQN, "config": {"normalize_observations": True}}, tmp_path)
    assert load_policy(noted, normalizer=False).digest == load_policy(written(DQN, tmp_path, "plain.pt")).digest


def test_settings_beside_a_state_dict_are_no_reason_to_refuse_it_but_are_heard(tmp_path: Path) -> None:
    plain = load_policy(written(DQN, tmp_path))
    settings = {"lr": 0.1, "sizes": [120, 84], "out": Pickled("pathlib.PosixPath"), "more": {"seed": 1}}
    around = {"epoch": 3, "when": Pickled("datetime.datetime"), "returns": Pickled("collections.deque")}
    for kind in ("argparse.Namespace", "types.SimpleNamespace"):
        value = {"model": DQN, "args": Pickled(kind, settings), **around}
        assert load_policy(written(value, tmp_path)).digest == plain.digest
        for odd_one, message in (
            ({"activation": "tanh"}, "args.activation is 'tanh'"),
            ({"norm_obs": True}, "args.norm_obs is true"),
            ({"env": Pickled("mine.Env")}, "a pickled mine.Env under 'args.env'"),
            ({"obs_mean": [0.0] * 5}, "'args.obs_mean', 5 numbers"),
        ):
            with pytest.raises(LilliputError, match=message):
                load_policy(written({"model": DQN, "args": Pickled(kind, settings | odd_one)}, tmp_path))


def test_a_limit_that_the_file_names_counts(tmp_path: Path) -> None:
    path = written({"actor": SFUJIM, "max_action": 0.4}, tmp_path)
    with pytest.raises(LilliputError, match=r"max_action is 0.4; .* give --action-low -0.4 and --action-high 0.4"):
        load_policy(path, **BOX)
    space = load_policy(path, action_low=-0.4, action_high=0.4).action_space
    assert isinstance(space, spaces.Box)
    np.testing.assert_allclose(space.high, 0.4)


def test_a_network_named_actor_is_cleanrl_s_where_the_names_say_so(tmp_path: Path) -> None:
    state = mlp("critic", [5, 64, 64, 1]) | mlp("actor", [5, 64, 64, 3])
    policy = load_policy(written(state, tmp_path, "ppo.cleanrl_model"))
    wanted = forward(state, ["actor.0", "actor.2", "actor.4"], batch(5), np.tanh).argmax(1)
    np.testing.assert_array_equal(reference.act(policy, batch(5)), wanted)
    assert "the action is taken to be one choice (Discrete)" in policy.provenance.guesses


@pytest.mark.frameworks
@pytest.mark.slow
def test_what_these_tests_write_is_what_torch_reads(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    read = torch.load(written({"model": PPO, "epoch": 3}, tmp_path), weights_only=True)
    assert read["epoch"] == 3
    for key, array in PPO.items():
        np.testing.assert_array_equal(read["model"][key].numpy(), array)


def safe_control_gym(statistics: dict[str, np.ndarray]) -> dict[str, Any]:
    """What its PPO saves, as its `save` puts it together."""
    actor = mlp_list("actor.pi_net.fcs", [5, 8, 7, 2]) | {"actor.logstd": np.full(2, -0.5, "f4")}
    agent = {"ac": actor | mlp_list("critic.v_net.fcs", [5, 8, 7, 1])}
    states = {"np": ("MT19937", np.arange(624, dtype="i8"), 623), "torch": np.arange(9, dtype="i8")}
    beside = {"reward_normalizer": {}, "obs": np.zeros((4, 5)), "random_state": states, "env_random_state": [states]}
    return {"agent": agent, "obs_normalizer": statistics, "total_steps": 100, **beside}


def mlp_list(prefix: str, sizes: list[int]) -> dict[str, np.ndarray]:
    """A ModuleList of Linear layers."""
    return named(sizes, [f"{prefix}.{number}" for number in range(len(sizes) - 1)])


@pytest.mark.parametrize("normalized", [False, True])
def test_safe_control_gym_acts_as_its_controller(normalized: bool, tmp_path: Path) -> None:
    mean, var = np.linspace(-1, 1, 5), np.linspace(0.01, 2, 5)
    path = written(safe_control_gym({"mean": mean, "var": var} if normalized else {}), tmp_path)
    read = load_checkpoint(path, activation="tanh")
    x = batch(5)
    seen = np.clip((x - mean) / np.sqrt(var + 1e-8), -10, 10) if normalized else x
    assert not normalized or (np.abs(seen) == 10).any()
    state = mlp_list("fcs", [5, 8, 7, 2])
    wanted = forward(state, ["fcs.0", "fcs.1", "fcs.2"], seen, np.tanh)
    np.testing.assert_allclose(reference.act(read.policy, x), wanted, atol=3e-5)
    np.testing.assert_allclose(read.learner.action_std, np.exp([-0.5, -0.5]), rtol=1e-6)
    assert not any("random_state" in guess for guess in read.policy.provenance.guesses)
    with pytest.raises(LilliputError, match=r"which activation stands between its layers .activation in its config"):
        load_policy(path)
