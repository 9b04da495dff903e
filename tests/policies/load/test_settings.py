"""What stands beside the weights: it agrees with the policy, is named as unread, or refuses the file."""

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
        {"lr": 0.1, "hidden": [8, 8], "configuration": "run 3", "use_rmsprop": True, "act_dim": 3, "obs_scale": 1.0},
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
        ("y", {"a": ones}),
        ("obs_rms", Pickled("mine.Rms", {"mean": ones})),
    ):
        for inside in (False, True):
            odd = sequential(linear(5, 8), layer("activation.ReLU"), linear(8, 2, 1))
            odd.state[name] = held
            value = sequential(odd) if inside else odd
            with pytest.raises(LilliputError, match=rf"{name}', which would be lost"):
                load_policy(written(value, tmp_path), action="discrete")
    scaled = module("torch.nn.modules.container.Sequential", NET.state["_modules"], obs_scale=0.5)
    with pytest.raises(LilliputError, match=r"obs_scale is 0.5, a scaling that would be lost"):
        load_policy(written(scaled, tmp_path), action="discrete")
    assert load_policy(written(NET, tmp_path), action="discrete")
