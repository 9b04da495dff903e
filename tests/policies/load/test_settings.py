"""What stands beside the weights: it agrees with the policy, is named as unread, or refuses the file."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.policies.load.torch_writer import Pickled, layer, linear, mlp, module, named, sequential, torch_file

from lilliput.errors import LilliputError
from lilliput.policies.load import load_policy
from lilliput.policies.load.inert_pickle import Global

RSL = {"std": np.ones(3, "f4")} | mlp("actor", [5, 8, 3]) | mlp("critic", [5, 8, 1])
TD3 = named([5, 256, 256, 2], ["l1", "l2", "l3"])
BOX: Any = {"action_low": -1.0, "action_high": 1.0}


def written(value: Any, folder: Path) -> Path:
    path = folder / "x.pt"
    path.write_bytes(torch_file(value))
    return path


def loaded(settings: dict[str, Any], folder: Path, **said: Any) -> tuple[str, ...]:
    path = written({"model_state_dict": RSL, "iter": 3, **settings}, folder)
    options: Any = {"activation": "elu"} | said
    return load_policy(path, **options).provenance.guesses


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        *(
            ({key: "tanh"}, f"{key} is 'tanh', which the policy would not have")
            for key in ("act", "hidden_act", "act_fn")
        ),
        *(
            ({key: "nn.ReLU"}, "would not have")
            for key in ("nonlinearity", "hiddenAct", "activ", "afn", "activation_fn")
        ),
        ({"act": "none"}, "would not have"),
        ({"act": "mish"}, "would not have"),
        ({"cfg": {"net": {"hidden_activation": "gelu"}}}, "cfg.net.hidden_activation is 'gelu'"),
        ({"args": Pickled("argparse.Namespace", {"act": "relu"})}, "args.act is 'relu'"),
        *(({key: "tanh"}, "behind the last layer") for key in ("output_activation", "final_act", "last_activation")),
        *(({key: True}, "would not squash") for key in ("squash", "squash_output", "tanh_output", "use_tanh")),
        *(({key: True}, "would not have") for key in ("layer_norm", "use_ln", "use_bn", "batchnorm")),
        *(({key: True}, "no statistics") for key in ("normalize", "norm_obs", "normalize_observations", "state_norm")),
        *(({key: True}, "connections") for key in ("residual", "skip_connections", "use_shortcut")),
        *(({key: 1}, "would not squash") for key in ("squash", "tanh_output")),
        *(({key: 1}, "would not have") for key in ("layer_norm", "use_bn")),
        *(({key: 1}, "no statistics") for key in ("normalize", "norm_obs")),
        *(({key: 0.25}, "scaling that would be lost") for key in ("obs_scale", "input_scale", "final_scale")),
        *(
            ({key: 4}, "say what the environment does|--wrapper")
            for key in ("frame_stack", "n_stack", "history_length")
        ),
        ({"state_filter": {"m": [1.0, 2.0, 3.0, 4.0, 5.0]}}, "'state_filter.m', 5 numbers of the observation"),
        *(({key: [1.0, 2.0, 3.0]}, "numbers of the action") for key in ("action_mean", "act_std", "action_offset")),
    ],
)
def test_a_setting_that_the_policy_does_not_have_refuses(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(LilliputError, match=message) as caught:
        loaded(settings, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"act": "elu"},
        {"config": {"hidden_act": "nn.ELU()", "critic_activation": "tanh"}},
        {"output_activation": None, "final_activation": "identity", "squash": False, "layer_norm": False},
        {"max_grad_norm": 0.5, "norm_adv": True, "clip_coef": 0.2, "normalize_returns": True, "reward_scale": 5.0},
        {"clip_vloss": True, "vf_clip_range": 0.2, "noise_clip": 0.5, "normalize_value": True, "rew_norm": True},
        {"rewards_shaper_scale": 0.1, "clip_predicted_values": True, "value_clip": 0.2, "q_norm": True},
        {"lr": 0.1, "hidden": [8, 8], "configuration": "run 3", "use_rmsprop": True, "act_dim": 3, "obs_scale": 1.0},
        {"layer_norm": 0, "squash": 0, "norm_obs": 0, "frame_skip": 1, "max_norm": 1, "clip_obs": 0},
    ],
)
def test_a_setting_that_agrees_or_is_the_learner_s_says_nothing(settings: dict[str, Any], tmp_path: Path) -> None:
    assert loaded(settings, tmp_path) == loaded({}, tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("clip_obs", 5.0),
        ("obs_lag", 3),
        ("default_joint_pos", [1.0, 2.0]),
        ("head", "tanh"),
        ("frame_skip", 4),
        ("x", [1.0, 2.0, 3.0, 4.0, 5.0]),
        ("gain", [1.0, 2.0, 3.0]),
        ("temperature", 0.5),
        ("control_value_scale", 2.0),
        ("noise_free_gain", 3.0),
        ("obs_q_clip", 5.0),
        *(
            (key, 1) for key in ("action_offset", "obs_shift", "command_bias", "obs_center", "choice_start")
        ),  # no factors
        *((key, 1.0) for key in ("obs_mean", "state_limit", "torque_trim", "obs_low")),
    ],
)
def test_a_setting_that_may_count_and_is_not_read_is_named(key: str, value: Any, tmp_path: Path) -> None:
    guesses = loaded({"cfg": {key: value}}, tmp_path)
    assert f"beside the weights stands cfg.{key} = {value!r}, which is not read" in guesses


def test_many_unread_settings_are_counted(tmp_path: Path) -> None:
    guesses = loaded({f"clip_{number}": 5.0 for number in range(50)}, tmp_path)
    assert guesses[-1] == "30 more such settings stand beside the weights"


def test_what_was_said_answers_a_setting(tmp_path: Path) -> None:
    assert loaded({"frame_stack": 4}, tmp_path, wrappers=["frame_stack(4)"])
    assert loaded({"normalize": True}, tmp_path, normalizer=False)
    path = written({"actor": TD3, "args": Pickled("argparse.Namespace", {"normalize": True})}, tmp_path)
    with pytest.raises(LilliputError, match=r"args.normalize is true and holds no statistics"):
        load_policy(path, **BOX)
    path = written({"actor": TD3, "tanh_output": True, "final_activation": "Tanh", "act": "relu"}, tmp_path)
    assert not [one for one in load_policy(path, **BOX).provenance.guesses if "not read" in one]
    with pytest.raises(LilliputError, match=r"tanh_output is true; the policy would not squash"):
        load_policy(path, action="continuous", **BOX)


NET = sequential(linear(5, 8), layer("activation.ReLU"), linear(8, 2, 1))


def test_a_hook_of_a_pickled_module_refuses(tmp_path: Path) -> None:
    for kind in ("_forward_hooks", "_forward_pre_hooks"):
        odd = sequential(linear(5, 8), layer("activation.ReLU"), linear(8, 2, 1))
        odd.state["_modules"]["0"].state[kind] = {0: Pickled("mine.Hook", {})}
        with pytest.raises(LilliputError, match=rf"modules.linear.Linear has {kind}, code of its own"):
            load_policy(written(odd, tmp_path), action="discrete")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("forward", Global("mine", "halved")),
        ("forward", Global("torch", "sin")),
        ("forward", Global("torch.nn.functional", "selu")),
        ("forward", Pickled("functools.partial", {})),
        ("_call_impl", Global("mine", "Called")),
        ("extra", Global("mine", "halved")),
        ("extra", Pickled("cloudpickle.cloudpickle._make_function", {})),
        ("0", 1.0),
    ],
)
@pytest.mark.parametrize("leaf", [False, True])
def test_code_that_was_set_on_a_pickled_module_refuses(key: str, value: Any, leaf: bool, tmp_path: Path) -> None:
    odd = sequential(linear(5, 8), layer("activation.ReLU"), linear(8, 2, 1))
    if leaf and key == "0":
        key = "weight"
    (odd.state["_modules"]["2"] if leaf else odd).state[key] = value
    with pytest.raises(LilliputError, match=rf"has a '[\w.]*{key}' of its own instead of its class's"):
        load_policy(written(odd, tmp_path), action="discrete")


def test_an_array_that_was_set_on_a_pickled_module_refuses(tmp_path: Path) -> None:
    ones = np.ones(5, "f4")
    for name, held in (
        ("obs_mean", ones),
        ("x", (ones, ones)),
        ("y.a", {"a": ones}),
        ("z.a.b", {"a": {"b": ones}}),
        ("obs_rms", Pickled("mine.Rms", {"mean": ones})),
    ):
        for inside in (False, True):
            odd = sequential(linear(5, 8), layer("activation.ReLU"), linear(8, 2, 1))
            odd.state[name.partition(".")[0]] = held
            value = sequential(odd) if inside else odd
            with pytest.raises(LilliputError, match=rf"{name}', which would be lost"):
                load_policy(written(value, tmp_path), action="discrete")
    scaled = module("torch.nn.modules.container.Sequential", NET.state["_modules"], obs_scale=0.5)
    with pytest.raises(LilliputError, match=r"obs_scale is 0.5, a scaling that would be lost"):
        load_policy(written(scaled, tmp_path), action="discrete")
    assert load_policy(written(NET, tmp_path), action="discrete")


@pytest.mark.parametrize(
    "settings",
    [
        {"obs_divisor": 10.0},
        {"output_multiplier": 3.0},
        {"torque_limit": 0.2},
        {"cfg": {"symlog": True}},
        {"action_mode": "delta"},
        {"cfg": {"use_prev_action": True}},
        {"n_action_steps": 8},
        {"obs_index": [4, 3]},
        {"head": "gaussian"},
        {"advance_gain": 0.5},
        {"max": 2.0},
        {"k": 3.0},
        {"arch": "residual"},
        {"policy": "SquashedPolicy"},
        {"layers": ["dense", "skip"]},
        {"joint_target_gain": 0.25},
        {"target_offset": 0.1},
        {"args": Pickled("argparse.Namespace", {"whatever": 7})},
    ],
)
def test_a_setting_whose_name_is_not_known_is_named(settings: dict[str, Any], tmp_path: Path) -> None:
    (said,) = set(loaded(settings, tmp_path)) - set(loaded({}, tmp_path))
    assert "which is not read" in said
    assert next(iter(settings)) in said


def test_a_run_s_own_settings_are_not_named(tmp_path: Path) -> None:
    run = {
        "exp_name": "ppo", "seed": 1, "torch_deterministic": True, "cuda": True, "track": True, "env_id": "Hopper-v4",
        "wandb_project_name": "x", "wandb_entity": "y", "total_timesteps": 10**6, "learning_rate": 3e-4, "num_envs": 4,
        "num_steps": 2048, "anneal_lr": True, "gamma": 0.99, "gae_lambda": 0.95, "num_minibatches": 32,
        "update_epochs": 10, "clip_coef": 0.2, "ent_coef": 0.01, "vf_coef": 0.5, "batch_size": 2048, "tau": 0.005,
        "policy_noise": 0.2, "learning_starts": 25000, "policy_frequency": 2, "obs_dim": 5, "hidden_size": 8,
        "target_network_frequency": 500, "target_entropy": -3.0, "target_kl": 0.02, "soft_target_tau": 0.01,
        "policy": "MlpPolicy", "arch": "mlp", "max_grad_norm": 1.0, "reward_scale": 1.0,
        "obs_gain": 1.0, "max_steps": 1,
    }  # fmt: skip
    assert loaded({"args": run, "wandb": {"mode": "online"}, "epoch": 3}, tmp_path) == loaded({}, tmp_path)


def test_attributes_of_a_pickled_module_are_named(tmp_path: Path) -> None:
    own = module("torch.nn.modules.container.Sequential", NET.state["_modules"], act_center=0.7, divide=10.0)
    guesses = load_policy(written(own, tmp_path), action="discrete").provenance.guesses
    assert sum("which is not read" in guess for guess in guesses) == 2


@pytest.mark.parametrize(
    ("held", "path"),
    [
        ({"center": 0.7}, "cfg.center"),
        ({"a": {"b": [{"center": 0.7}]}}, "cfg.a.b.center"),
        (Pickled("argparse.Namespace", {"center": 0.7}), "cfg.center"),
        (Pickled("mine.Cfg", {"center": 0.7}), "cfg"),
        ([0.7, 0.2], "cfg"),
        ({1, 3}, "cfg"),
        (3 + 0j, "cfg"),
    ],
)
def test_what_a_module_holds_in_any_container_is_named(held: Any, path: str, tmp_path: Path) -> None:
    own = module("torch.nn.modules.container.Sequential", NET.state["_modules"], cfg=held)
    guesses = load_policy(written(own, tmp_path), action="discrete").provenance.guesses
    assert [guess for guess in guesses if guess.startswith(f"beside the weights stands {path} = ")], guesses


@pytest.mark.parametrize("name", ["k", "step", "seed", "factor"])
def test_a_number_on_a_module_is_named_whatever_it_is_called(name: str, tmp_path: Path) -> None:
    own = module("torch.nn.modules.container.Sequential", NET.state["_modules"], _hidden_size=8)
    own.state[name] = 3.0
    guesses = load_policy(written(own, tmp_path), action="discrete").provenance.guesses
    assert [guess for guess in guesses if "which is not read" in guess] == [
        f"beside the weights stands {name} = 3.0, which is not read"
    ]


def test_lists_that_hold_themselves_many_times_are_refused(tmp_path: Path) -> None:
    laugh: list[Any] = [0]
    for _ in range(28):
        laugh = [laugh, laugh]
    path = tmp_path / "x.pt"
    odd = module("torch.nn.modules.container.Sequential", NET.state["_modules"], note="LAUGH")
    text = b"X\x05\x00\x00\x00LAUGH"
    path.write_bytes(torch_file(odd, {text: pickle.dumps(laugh, 2)[2:-1]}))
    with pytest.raises(LilliputError, match="holds more than 20000 things"):
        load_policy(path, action="discrete")


@pytest.mark.parametrize("where", ["cfg", "weights", "module"])
def test_a_name_of_a_million_characters_is_refused(where: str, tmp_path: Path) -> None:
    name = "obs" * 400_000
    own = module("torch.nn.modules.container.Sequential", NET.state["_modules"])
    own.state[name] = 3.0
    value = {"cfg": {"l": RSL, "cfg": {name: 1.5}}, "weights": RSL | {name: np.ones(2, "f4")}, "module": own}[where]
    with pytest.raises(LilliputError, match="has a name of 1200000 characters; at most 1000 are read"):
        load_policy(written(value, tmp_path), action="discrete")


def test_a_wide_dict_that_holds_itself_is_refused(tmp_path: Path) -> None:
    odd = module("torch.nn.modules.container.Sequential", NET.state["_modules"], note="LAUGH")
    again = b"".join(b"X\x05\x00\x00\x00" + f"{number:05}".encode() + b"h\x07" for number in range(20_500))
    path = tmp_path / "x.pt"
    path.write_bytes(torch_file(odd, {b"X\x05\x00\x00\x00LAUGH": b"}q\x07(" + again + b"u"}))
    with pytest.raises(LilliputError, match="holds more than 20000 things"):
        load_policy(path, action="discrete")


def run_of(settings: str, value: Any, folder: Path) -> Path:
    """A run's folder with its settings, and a file in it."""
    (folder / "params").mkdir(exist_ok=True)
    (folder / "params" / "agent.yaml").write_text(settings)
    return written(value, folder)


RSL_FILE = {"model_state_dict": RSL, "iter": 3}
SKRL_FILE = mlp("net_container", [5, 8, 3]) | {"log_std_parameter": np.zeros(3, "f4")}
SKRL_TANH = "models:\n  policy:\n    output: tanh(ACTIONS)\n"
SCALER = "agent:\n  state_preprocessor: RunningStandardScaler\n"


@pytest.mark.parametrize(
    ("settings", "value", "message", "way"),
    [
        ("policy: {class_name: 'mine:Tanh'}", RSL_FILE, "mine:Tanh', which is not a class of", {"plain": True}),
        ("empirical_normalization: true", RSL_FILE, "holds no statistics", {"normalizer": False}),
        ("policy: {actor_obs_normalization: true}", RSL_FILE, "holds no statistics", {"normalizer": False}),
        ("actor: {obs_normalization: true}", RSL_FILE, "holds no statistics", {"normalizer": False}),
        ("policy: {last_activation: tanh}", RSL_FILE, "give --action tanh", {"action": "tanh", **BOX}),
        (SCALER, SKRL_FILE, "RunningStandardScaler', whose statistics are not in the file", {"normalizer": False}),
        (SKRL_TANH, SKRL_FILE, "give --action tanh", {"action": "tanh", **BOX}),
        ("models:\n  policy:\n    output: 3 * ACTIONS\n", SKRL_FILE, "export the whole policy", None),
        ("models:\n  policy:\n    network: [{activations: relu}]\n", SKRL_FILE, "relu", {"activation": "relu"}),
    ],
)
def test_a_run_s_settings_that_the_policy_does_not_have_refuse(
    settings: str, value: Any, message: str, way: dict[str, Any] | None, tmp_path: Path
) -> None:
    path = run_of(settings, value, tmp_path)
    with pytest.raises(LilliputError, match=message) as caught:
        load_policy(path, activation="elu")
    assert "params/agent.yaml" in str(caught.value)
    said: Any = {"activation": "elu"} | (way or {})
    if way is not None:
        assert load_policy(path, **said)


def test_a_run_s_settings_that_agree_say_nothing_and_others_are_named(tmp_path: Path) -> None:
    agree = "policy: {class_name: ActorCritic, activation: elu, init_noise_std: 1.0, actor_hidden_dims: [8]}\nseed: 3\n"
    guesses = load_policy(run_of(agree, RSL_FILE, tmp_path)).provenance.guesses
    assert not [guess for guess in guesses if "not read" in guess]
    odd = load_policy(
        run_of("clip_actions: 0.1\npolicy: {activation: elu, twist: 3}", RSL_FILE, tmp_path)
    ).provenance.guesses
    assert any("params/agent.yaml: clip_actions = 0.1, which is not read" in guess for guess in odd)
    assert any("params/agent.yaml: policy.twist = 3, which is not read" in guess for guess in odd)
    odd = load_policy(run_of("control_value_scale: 2.0\npolicy: {activation: elu}", RSL_FILE, tmp_path)).provenance
    assert any("control_value_scale = 2.0, which is not read" in guess for guess in odd.guesses)
    around = "clip_observations: 5.0\nnormalization: {obs_scales: {ang_vel: 0.25}}\nalgorithm: {clip_param: 0.2}\n"
    odd = load_policy(run_of(f"{around}policy: {{activation: elu}}", RSL_FILE, tmp_path)).provenance.guesses
    assert [guess.partition(" = ")[0].rpartition(" ")[2] for guess in odd if "not read" in guess] == [
        "clip_observations",
        "normalization.obs_scales.ang_vel",
    ]
    agree = "models:\n  policy:\n    output: ACTIONS\n    network: [{name: net, input: STATES, activations: elu}]\n"
    guesses = load_policy(run_of(agree, SKRL_FILE, tmp_path), activation="elu").provenance.guesses
    assert not [guess for guess in guesses if "not read" in guess]


def test_what_rl_games_environment_does_to_observations_is_named(tmp_path: Path) -> None:
    mean = {key.replace("mu.0.", "mu."): array for key, array in mlp("a2c_network.mu", [8, 3]).items()}
    value = {"model": mlp("a2c_network.actor_mlp", [5, 8]) | mean | {"a2c_network.sigma": np.zeros(3, "f4")}}
    around = "params:\n  env: {clip_observations: 5.0, clip_actions: 1.0}\n  config: {clip_actions: true}\n"
    said: dict[str, Any] = {"activation": "elu", **BOX}
    guesses = load_policy(run_of(around, value, tmp_path), **said).provenance.guesses
    assert [guess for guess in guesses if "not read" in guess] == [
        "beside the weights stands params/agent.yaml: env.clip_observations = 5.0, which is not read"
    ]
    guesses = load_policy(run_of(around.replace("5.0", ".inf"), value, tmp_path), **said).provenance.guesses
    assert not [guess for guess in guesses if "not read" in guess]
