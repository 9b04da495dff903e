"""How a zip of Stable-Baselines3 says its arguments, spaces and weights, in the forms of all its versions."""

import json
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
from lilliput.policies.load import load_policy

torch = pytest.importorskip("torch")
sb3 = pytest.importorskip("stable_baselines3")
contrib = pytest.importorskip("sb3_contrib")

from tests.policies.load.frameworks import (  # noqa: E402
    ACTIONS,
    DISCRETE,
    MATRIX,
    SEVERAL,
    SHORT,
    Still,
    assert_same_actions,
    check,
    observations,
    predicted,
    rewrite_zip,
    save,
    shaken,
    torch_bytes,
    vector,
)

pytestmark = [pytest.mark.frameworks, pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]


@pytest.fixture(autouse=True)
def same_networks() -> None:
    torch.manual_seed(0)


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
    (spaces.Discrete(16), ACTIONS),
    (spaces.MultiDiscrete([3, 4]), DISCRETE),
    (spaces.MultiBinary([2, 3]), DISCRETE),
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
    old = rewrite_zip(path, tmp_path / "old.zip", {"policy.pth": torch_bytes(renamed)})
    batch = observations(model.observation_space)
    assert_same_actions(reference.act(load_policy(old), batch), predicted(model, batch), ACTIONS)


def test_the_oldest_torch_format(tmp_path: Path) -> None:
    path = save(sb3.SAC("MlpPolicy", Still(vector(), ACTIONS), device="cpu", **SHORT), tmp_path)
    with zipfile.ZipFile(path) as archive, archive.open("policy.pth") as entry:
        state = torch.load(entry, weights_only=True)
    old = rewrite_zip(
        path, tmp_path / "old.zip", {"policy.pth": torch_bytes(state, _use_new_zipfile_serialization=False)}
    )
    assert load_policy(old).digest == load_policy(path).digest


@pytest.mark.parametrize("key", ["mlp_extractor.shared.0.weight", "std", "value_net2.weight", "actor.std.weight"])
def test_keys_that_are_not_the_framework_s_refuse(key: str, tmp_path: Path) -> None:
    path = save(sb3.PPO("MlpPolicy", Still(vector(), ACTIONS), n_steps=8, device="cpu"), tmp_path)
    with zipfile.ZipFile(path) as archive, archive.open("policy.pth") as entry:
        state = torch.load(entry, weights_only=True)
    changed = rewrite_zip(path, tmp_path / "x.zip", {"policy.pth": torch_bytes({**state, key: torch.zeros(1)})})
    with pytest.raises(LilliputError, match=f"policy.pth has '{key}', which the framework's own"):
        load_policy(changed)


def test_a_policy_with_non_finite_weights_is_refused(tmp_path: Path) -> None:
    model = sb3.PPO("MlpPolicy", Still(vector(), ACTIONS), n_steps=8, device="cpu")
    with torch.no_grad():
        model.policy.action_net.weight[0, 0] = float("nan")
    with pytest.raises(LilliputError, match="not finite"):
        load_policy(save(model, tmp_path))
