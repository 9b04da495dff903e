"""Public actors of many programs, where LILLIPUT_GRID names their folder: torch and their returns are the oracles."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference, spaces
from lilliput.policies.load import load_policy
from lilliput.policies.load.torch_file import Module, read_torch
from lilliput.policies.play import PolicyAct, episode_returns

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def grid() -> Path:
    folder = os.environ.get("LILLIPUT_GRID")
    if not folder:
        pytest.skip("LILLIPUT_GRID is not set: the public actors are not here")
    return Path(folder)


def rules(grid: Path) -> dict[str, dict[str, Any]]:
    return {path.parent.name: json.loads(path.read_text()) for path in sorted(grid.glob("*/rule.json"))}


def played(rule: dict[str, Any]) -> tuple[str, list[str] | None, dict[str, float]]:
    """The environment and wrappers of the view that the actor plays best, and the return there."""
    best = max(rule["played"][:2], key=lambda one: one["mean"])
    return best["env"].split()[0], ["zero_contact_forces"] if "zero" in best["view"] else None, best


def test_every_one_loads_as_it_is(grid: Path) -> None:
    found = rules(grid)
    assert len(found) == 24
    for name, rule in found.items():
        environment, wrappers, _ = played(rule)
        policy = load_policy(grid / name / rule["file"], environment=environment, wrappers=wrappers)
        shapes = [layer.weight.shape[::-1] for layer in policy.layers if isinstance(layer, layers.Dense)]
        sizes = [size for size in rule["shape"] if isinstance(size, int)]
        assert [size for _, size in shapes] == sizes[-len(shapes) :], name
        if isinstance(policy.action_space, spaces.Box):
            assert policy.action_space.high[0] == pytest.approx(0.4 if "umanoid" in name else 1.0), name


def leaf(value: Any, path: str) -> np.ndarray:
    """The array under the dotted path by which a rule names it."""
    for part in path.replace("_modules.", "").replace("_parameters.", "").split("."):
        if isinstance(value, Module):
            value = value.arrays[part] if part in value.arrays else value.children[part]
        elif part in value:
            value = value[part]
        else:  # a state dict's keys have dots inside
            return value[path] if path in value else value[path.rpartition("state_dict.")[2]]
    return value


def normalized(torch: Any, rule: dict[str, Any], value: Any, x: Any) -> Any:
    statistics = rule["obs_normaliser"]
    if not statistics:
        return x
    mean, var = (torch.tensor(np.asarray(value[statistics[key]], np.float64)) for key in ("mean", "var"))
    normal = (x - mean) / torch.sqrt(var + statistics["eps"])
    return torch.clip(normal, -statistics["clip"], statistics["clip"])


def layer_norm(torch: Any, rule: dict[str, Any], value: Any, index: int, x: Any) -> Any:
    if not rule["layer_norm"]:
        return x
    name = rule["layer_norm"][index]
    if rule["layer_norm_kind"] == "torch":
        parts = [torch.tensor(np.array(leaf(value, f"{name}.{key}")), dtype=x.dtype) for key in ("weight", "bias")]
        return torch.nn.functional.layer_norm(x, x.shape[-1:], *parts)
    gain, shift = (torch.tensor(np.array(leaf(value, f"{name}.{key}")), dtype=x.dtype) for key in ("gamma", "beta"))
    return gain * (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-6) + shift


@pytest.mark.frameworks
def test_each_one_decides_as_torch_does_by_its_rule(grid: Path) -> None:
    torch = pytest.importorskip("torch")
    checked = 0
    for name, rule in rules(grid).items():
        if not rule["layers_by_dotted_path"] or rule["file"].endswith(".zip"):
            continue
        environment, _, _ = played(rule)
        path = grid / name / rule["file"]
        value = read_torch(path.read_bytes(), name)
        x = torch.tensor(np.random.default_rng(0).normal(size=(1000, rule["shape"][0])).astype(np.float32)).double()
        hidden = normalized(torch, rule, value, x)
        for index, at in enumerate(rule["layers_by_dotted_path"]):
            arrays = (np.array(leaf(value, at.replace("{weight,bias}", key))) for key in ("weight", "bias"))
            hidden = torch.nn.functional.linear(hidden, *(torch.tensor(array, dtype=x.dtype) for array in arrays))
            if index < len(rule["layers_by_dotted_path"]) - 1:
                hidden = layer_norm(torch, rule, value, index, hidden)
                hidden = torch.relu(hidden) if rule["hidden_activation"] == "relu" else torch.tanh(hidden)
        scale = rule["output_scale"]
        expected = scale * torch.tanh(hidden) if rule["output"] == "tanh" else torch.clip(hidden, -scale, scale)
        policy = load_policy(path, environment=environment)
        # torch in float64; the outputs of some reach thousands before the tanh, where float32 is that much coarser.
        np.testing.assert_allclose(reference.act(policy, x.numpy()), expected.numpy(), atol=2e-4, err_msg=name)
        checked += 1
    assert checked == 21


@pytest.mark.parametrize("name", ["ppo-hopper", "erlddpg-ant", "sac-walker2d", "td3-humanoid", "trpo-ant"])
def test_a_return_is_what_others_saw(name: str, grid: Path) -> None:
    rule = rules(grid)[name]
    environment, wrappers, best = played(rule)
    policy = load_policy(grid / name / rule["file"], environment=environment, wrappers=wrappers)
    returns = episode_returns(PolicyAct(policy), environment, [1000, 1001], wrappers=policy.provenance.wrappers)
    # Two other episodes than those five, and another MuJoCo: of the same kind, and nothing like a fallen one.
    assert np.mean(returns) == pytest.approx(best["mean"], abs=max(4 * best["sd"], 0.05 * best["mean"]))


def test_a_file_without_bounds_asks_for_them(grid: Path) -> None:
    for name in ("sac-ant", "td3-humanoid", "ppo-hopper", "erlddpg-walker2d"):
        with pytest.raises(LilliputError, match=r"does not hold the bounds of its \d+ actions; name the environment"):
            load_policy(grid / name / rules(grid)[name]["file"])
