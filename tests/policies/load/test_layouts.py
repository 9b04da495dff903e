"""State dicts by their whole set of keys: what is known acts as its program does, what is nearly known is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.policies.load.torch_writer import Pickled, dense, layer, linear, mlp, module, named, sequential, torch_file

from lilliput.errors import LilliputError
from lilliput.policies import reference, spaces
from lilliput.policies.load import load_policy, state_dict
from lilliput.policies.load.saved import saved
from lilliput.policies.policy import Policy

N_OBSERVATIONS = 200
BOX: Any = {"action_low": -2.0, "action_high": 2.0}
State = dict[str, np.ndarray]


def written(value: Any, folder: Path, name: str = "x.pt") -> Path:
    path = folder / name
    path.write_bytes(torch_file(value))
    return path


def batch(n: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(N_OBSERVATIONS, n)).astype(np.float32)


def forward(
    state: State, names: list[str], x: np.ndarray, hidden: Callable[[np.ndarray], np.ndarray], *after: Any
) -> np.ndarray:
    """The network in float64: Linear layers, what stands behind the hidden ones, an activation."""
    x = x.astype(np.float64)
    for number, name in enumerate(names):
        x = x @ state[f"{name}.weight"].T.astype(np.float64) + state[f"{name}.bias"]
        if number < len(names) - 1:
            for step in after:
                x = step(x, number)
            x = hidden(x)
    return x


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def squashed(x: np.ndarray) -> np.ndarray:
    return 2 * np.tanh(x)


def norms(names: tuple[str, ...], keys: tuple[str, str], width: int) -> State:
    rng = np.random.default_rng(2)
    return {f"{name}.{key}": rng.uniform(0.5, 2, width).astype("f4") for name in names for key in keys}


SFUJIM = named([5, 256, 256, 2], ["l1", "l2", "l3"])
PRANZ = named([5, 256, 256, 2], ["linear1", "linear2", "mean_linear"])
PRANZ |= dense("log_std_linear", 256, 2, np.random.default_rng(3))
HIDDEN = named([5, 256, 256, 2], ["hidden1", "hidden2", "mu"]) | dense("log_std", 256, 2, np.random.default_rng(3))
LAYER_NORM = named([5, 400, 300, 2], ["fc1", "fc2", "mu"])
LAYER_NORM |= norms(("bn1",), ("weight", "bias"), 400) | norms(("bn2",), ("weight", "bias"), 300)
ERL = named([5, 16, 16, 2], ["w_l1", "w_l2", "w_out"]) | norms(("lnorm1", "lnorm2"), ("gamma", "beta"), 16)
UDACITY = named([5, 16, 16, 3], ["fc1", "fc2", "fc3"])
CONTINUOUS = named([5, 16, 16, 2], ["fc1", "fc2", "mu"]) | {"log_std": np.full((1, 2), 0.5, "f4")}
MEAN, VAR = np.linspace(-1, 1, 5), np.linspace(0.01, 4, 5)
ACTOR_CRITIC = mlp("actor", [5, 16, 16, 3]) | mlp("critic", [5, 16, 16, 1])
PPO = {"actor_logstd": np.zeros((1, 2), "f4")} | mlp("critic", [5, 64, 64, 1]) | mlp("actor_mean", [5, 64, 64, 2])
DQN = mlp("network", [5, 120, 84, 3])


def torch_norm(x: np.ndarray, number: int) -> np.ndarray:
    normal = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    return normal * LAYER_NORM[f"bn{number + 1}.weight"] + LAYER_NORM[f"bn{number + 1}.bias"]


def erl_norm(x: np.ndarray, number: int) -> np.ndarray:
    normal = (x - x.mean(1, keepdims=True)) / (x.std(1, keepdims=True, ddof=1) + 1e-6)
    return normal * ERL[f"lnorm{number + 1}.gamma"] + ERL[f"lnorm{number + 1}.beta"]


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


V = np.ones(5, "f4")
CONVOLUTION = {"weight": np.zeros((16, 3, 2, 2), "f4"), "bias": np.zeros(16, "f4")}
NEARLY = {
    "rsl_rl's standard deviation": (extra(ACTOR_CRITIC, std=V), "which activation .*elu by rsl_rl's default"),
    "a deviation of another name": (extra(ACTOR_CRITIC, std_dev=V), "std_dev besides .it has the spread of real act"),
    "a memory before the actor": (extra(ACTOR_CRITIC, memory_a__rnn__weight_ih_l0=V), "it has a memory"),
    "an estimator": (ACTOR_CRITIC | mlp("estimator.encoder", [9, 4, 2]), "another network feeds the actor"),
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
    "a categorical Q-network": (extra(DQN, atoms=V), "atoms besides"),
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
        mlp("mlp_extractor.policy_net", [5, 64, 64]) | named([64, 2], ["action_net"]),
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


CONVOLUTION_MODULE = module("torch.nn.modules.conv.Conv2d", arrays=CONVOLUTION, stride=(1, 1), padding=(0, 0))


def spinning_up(actor: Pickled, *critics: str) -> Pickled:
    q = module("core.MLPQFunction", {"q": sequential(linear(7, 1))})
    return module("spinup.algos.pytorch.td3.core.MLPActorCritic", {"pi": actor, **dict.fromkeys(critics, q)})


def relu_net(*ends: Pickled, sizes: tuple[int, int] = (5, 8)) -> Pickled:
    return sequential(linear(*sizes), layer("activation.ReLU", inplace=False), *ends)


LIMIT = np.float32(2).reshape(())
SQUASHED = relu_net(linear(8, 2, 1), layer("activation.Tanh"))
TD3 = spinning_up(module("core.MLPActor", {"pi": SQUASHED}, act_limit=LIMIT), "q1", "q2")
SAC = spinning_up(
    module(
        "core.SquashedGaussianMLPActor",
        {"net": relu_net(), "mu_layer": linear(8, 2, 1), "log_std_layer": linear(8, 2, 2)},
        act_limit=2.0,
    ),
    "q1",
    "q2",
)
GAUSSIAN = spinning_up(
    module(
        "core.MLPGaussianActor", {"mu_net": relu_net(linear(8, 2, 1), layer("linear.Identity"))}, {"log_std": V[:2]}
    ),
    "v",
)
CATEGORICAL = spinning_up(module("core.MLPCategoricalActor", {"logits_net": relu_net(linear(8, 2, 1))}), "v")
STATE = {
    f"{name}.{key}": array
    for name, part in (("a", linear(5, 8)), ("b", linear(8, 2, 1)))
    for key, array in part.state["_parameters"].items()
}


def vector_base(**own: Any) -> Pickled:
    children = {"actor": relu_net(), "critic": relu_net(), "critic_linear": linear(8, 1), **own}
    return module("a2c_ppo_acktr.model.MLPBase", children, _recurrent=False)


def ikostrikov(base: Pickled, statistics: Any = None) -> Any:
    bias = module("utils.AddBias", arrays={"_bias": np.full((2, 1), 0.5, "f4")})
    head = module("a2c_ppo_acktr.distributions.DiagGaussian", {"fc_mean": linear(8, 2, 1), "logstd": bias})
    return [module("a2c_ppo_acktr.model.Policy", {"base": base, "dist": head}), statistics]


def normal(x: np.ndarray) -> np.ndarray:
    return forward(STATE, ["a", "b"], x, relu)


RMS = Pickled("baselines.common.running_mean_std.RunningMeanStd", {"mean": 0.5, "var": 4.0})


@pytest.mark.parametrize(
    ("value", "options", "expected"),
    [
        (TD3, {}, lambda x: squashed(normal(x))),
        (SAC, {}, lambda x: squashed(normal(x))),
        (GAUSSIAN, BOX, lambda x: np.clip(normal(x), -2, 2)),
        (CATEGORICAL, {}, lambda x: normal(x).argmax(1)),
        (relu_net(linear(8, 2, 1)), {"action": "discrete"}, lambda x: normal(x).argmax(1)),
        (ikostrikov(vector_base()), BOX, lambda x: np.clip(normal(x), -2, 2)),
    ],
)
def test_a_pickled_module_acts_as_its_classes_say(
    value: Any, options: dict[str, Any], expected: Callable[[np.ndarray], np.ndarray], tmp_path: Path
) -> None:
    policy = load_policy(written(value, tmp_path), **options)
    np.testing.assert_allclose(reference.act(policy, batch(5)), expected(batch(5)), atol=1e-5)


def test_a_module_is_found_in_its_wrappers(tmp_path: Path) -> None:
    plain = load_policy(written(TD3, tmp_path))
    parallel = module("torch.nn.parallel.data_parallel.DataParallel", {"module": TD3})
    compiled = module("torch._dynamo.eval_frame.OptimizedModule", {"_orig_mod": parallel})
    for value in (parallel, compiled, {"model": TD3, "epoch": 3}, {"actor_critic": TD3, "critic_target": relu_net()}):
        assert load_policy(written(value, tmp_path)).digest == plain.digest
    for value, message in (
        ({"model": TD3, "obs_mean": V}, "a pickled .*MLPActorCritic under 'model'"),
        ({"model": TD3, "other": TD3}, "a pickled .*MLPActorCritic under 'model'"),
        ({"model": TD3, "normalize_obs": True}, "normalize_obs is true"),
        ({"model": TD3, "rms": Pickled("mine.Rms")}, "a pickled"),
    ):
        with pytest.raises(LilliputError, match=message):
            load_policy(written(value, tmp_path))


def test_an_act_limit_is_the_bound(tmp_path: Path) -> None:
    space = load_policy(written(TD3, tmp_path)).action_space
    assert isinstance(space, spaces.Box)
    assert space.high.tolist() == [2.0, 2.0]


def actor(net: Pickled, act_limit: Any = None, **children: Pickled) -> Pickled:
    return module("core.MLPActor", {"pi": net, **children}, act_limit=act_limit)


def test_a_file_that_grows_when_it_is_followed_is_refused(tmp_path: Path) -> None:
    import io
    import zipfile

    # Every list holds the one before it twice: 28 of them are 2^28 empty lists.
    pickled = b"\x80\x02]q\x00" + b"".join(b"]q%c(h%ch%ce" % (n, n - 1, n - 1) for n in range(1, 28)) + b"."
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
    (tmp_path / "x.pt").write_bytes(stream.getvalue())
    with pytest.raises(LilliputError, match="holds more than 20000 things"):
        load_policy(tmp_path / "x.pt")


@pytest.mark.frameworks
def test_a_sequential_of_torch_with_batch_norms_and_an_activation_at_its_end(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    nn = torch.nn
    torch.manual_seed(0)
    x = batch(5)

    def saved_by_torch(*modules: Any, name: str = "x.pt") -> tuple[Path, np.ndarray]:
        net = nn.Sequential(*modules)
        for one in net.modules():
            if isinstance(one, nn.BatchNorm1d) and one.track_running_stats:
                one.running_mean.normal_()
                one.running_var.uniform_(0.1, 2)
                if one.affine:
                    nn.init.normal_(one.weight)
        torch.save(net, tmp_path / name)  # as most do, without .eval()
        with torch.no_grad():
            return tmp_path / name, net.eval()(torch.tensor(x)).numpy()

    inner = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8, eps=0.01))
    normed = (nn.BatchNorm1d(5, affine=False), inner, nn.ReLU(), nn.BatchNorm1d(8), nn.Linear(8, 2), nn.Tanh())
    path, wanted = saved_by_torch(*normed)
    box: Any = {"action_low": -1.0, "action_high": 1.0}
    np.testing.assert_allclose(reference.act(load_policy(path, action="continuous", **box), x), wanted, atol=1e-5)
    squashed = load_policy(path, action="tanh", **BOX)
    np.testing.assert_allclose(reference.act(squashed, x), 2 * wanted, atol=1e-5)
    assert any(
        "Tanh that it ends in is taken as the one of --action tanh" in one for one in squashed.provenance.guesses
    )
    assert (reference.act(load_policy(path, action="discrete"), x) == wanted.argmax(1)).all()
    path, wanted = saved_by_torch(nn.Linear(5, 3), nn.Sigmoid())
    np.testing.assert_allclose(reference.act(load_policy(path, action="continuous", **box), x), wanted, atol=1e-6)
    np.testing.assert_allclose(reference.act(load_policy(path, action="tanh", **box), x), np.tanh(wanted), atol=1e-6)
    for odd in ((nn.Linear(5, 3), nn.ReLU(), nn.BatchNorm1d(3)), (nn.BatchNorm1d(5), nn.LayerNorm(5), nn.Linear(5, 3))):
        with pytest.raises(LilliputError, match="BatchNorm1d with no Linear right before or behind"):
            load_policy(saved_by_torch(*odd)[0], action="discrete")
    bare = nn.BatchNorm1d(5, track_running_stats=False)
    with pytest.raises(LilliputError, match="BatchNorm1d with running statistics"):
        load_policy(saved_by_torch(bare, nn.Linear(5, 3))[0], action="discrete")


def odd(policy: Policy) -> None:
    raise AssertionError(f"loaded as {policy.provenance}")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            module("my.core.MLPActorCritic", {"pi": TD3.state["_modules"]["pi"], "encoder": linear(5, 5)}),
            "of the class 'my.core.MLPActorCritic'",
        ),
        (spinning_up(actor(relu_net(linear(8, 2)), act_limit=LIMIT), "q"), "does not end in Tanh"),
        (spinning_up(actor(relu_net(linear(8, 2), layer("activation.Tanh"))), "q"), "act_limit is None"),
        (
            spinning_up(actor(relu_net(linear(8, 2)), norm=linear(5, 5), act_limit=LIMIT), "q"),
            "differs from its namesake in norm",
        ),
        (
            spinning_up(module("core.TransformerActor", {"pi": relu_net()}), "q"),
            "of the class 'TransformerActor' is none",
        ),
        (
            spinning_up(
                module("core.MLPCategoricalActor", {"logits_net": relu_net(layer("activation.Mish"), linear(8, 2))}),
                "v",
            ),
            "holds a module torch.nn.modules.activation.Mish",
        ),
        (ikostrikov(vector_base(gru=linear(8, 8))), "is a recurrent policy"),
        (ikostrikov(vector_base(extra=linear(8, 8))), "differs from its namesake in extra"),
        (ikostrikov(vector_base(), {"mean": V}), "what follows the policy in its list"),
        (module("torch.nn.modules.container.Sequential", {"0": linear(5, 2)}, {"scale": V}), "where a Sequential"),
        (sequential(CONVOLUTION_MODULE, layer("flatten.Flatten"), linear(64, 2)), "is a Sequential for images"),
        (module("mine.Actor", {"net": relu_net()}), "a pickled module of the class 'mine.Actor'"),
        ([relu_net(linear(8, 2)), {"obs_mean": V}], "a pickled module of the class"),
    ],
)
def test_a_module_that_is_nearly_known_is_refused(value: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(LilliputError, match=message) as caught:
        odd(load_policy(written(value, tmp_path)))
    assert "\n" not in str(caught.value)


@pytest.mark.frameworks
@pytest.mark.slow
def test_what_these_tests_write_is_what_torch_reads(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    read = torch.load(written({"model": PPO, "epoch": 3}, tmp_path), weights_only=True)
    assert read["epoch"] == 3
    for key, array in PPO.items():
        np.testing.assert_array_equal(read["model"][key].numpy(), array)
