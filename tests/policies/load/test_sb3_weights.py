"""State dicts of Stable-Baselines3's policies without their zips act as the zips do, once the options say the rest."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lilliput.errors import LilliputError
from lilliput.policies import reference
from lilliput.policies.load import load_policy

FOLDER = Path(__file__).parents[2] / "fixtures" / "load"
BOX: dict[str, Any] = {"action_low": [-1.0, -2.0], "action_high": [1.0, 3.0]}


def _alone(zipped: str, folder: Path) -> Path:
    with zipfile.ZipFile(FOLDER / zipped) as archive:
        (folder / "policy.pth").write_bytes(archive.read("policy.pth"))
    return folder / "policy.pth"


@pytest.mark.parametrize(
    ("zipped", "said"),
    [
        ("ppo.zip", {"activation": "tanh", "action": "continuous"}),
        ("td3.zip", {"activation": "relu"}),
    ],
)
def test_it_acts_as_the_zip_does(zipped: str, said: dict[str, Any], tmp_path: Path) -> None:
    whole = load_policy(FOLDER / zipped, normalizer=False)
    space: Any = whole.action_space
    bounds = {"action_low": space.low.tolist(), "action_high": space.high.tolist()}
    alone = load_policy(_alone(zipped, tmp_path), **said, **bounds)
    n = whole.observation_space.shape  # type: ignore[union-attr]
    x = np.random.default_rng(0).normal(size=(1000, *n)).astype(np.float32)
    np.testing.assert_allclose(reference.act(alone, x), reference.act(whole, x), atol=2e-6)
    assert any("without its zip" in one for one in alone.provenance.guesses)
    with pytest.raises(LilliputError, match=r"which activation stands between .*the zip says it"):
        load_policy(tmp_path / "policy.pth", **bounds)


@pytest.mark.frameworks
@pytest.mark.parametrize("algorithm", ["PPO", "A2C", "SAC", "TD3", "DQN"])
def test_it_acts_as_the_framework_s_predict(algorithm: str, tmp_path: Path) -> None:
    sb3, torch = pytest.importorskip("stable_baselines3"), pytest.importorskip("torch")
    gymnasium = pytest.importorskip("gymnasium")

    low, high = np.float32(BOX["action_low"]), np.float32(BOX["action_high"])

    class Fixed(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-9, 9, (5,), np.float32)
        action_space = gymnasium.spaces.Discrete(3) if algorithm == "DQN" else gymnasium.spaces.Box(low, high)

    model = getattr(sb3, algorithm)("MlpPolicy", Fixed(), seed=0, device="cpu", policy_kwargs={"net_arch": [8, 7]})
    with torch.no_grad():
        for weights in model.policy.parameters():
            weights.add_(torch.randn_like(weights) * 0.5)
    x = (np.random.default_rng(0).normal(size=(1000, 5)) * 2).astype(np.float32)
    theirs, _ = model.predict(x, deterministic=True)
    said: dict[str, Any] = dict(BOX, activation="relu")
    if algorithm == "DQN":
        said = {"activation": "relu"}
    if algorithm in ("PPO", "A2C"):
        said |= {"activation": "tanh", "action": "continuous"}
    torch.save(model.policy.state_dict(), tmp_path / "policy.pth")
    policy = load_policy(tmp_path / "policy.pth", **said)
    np.testing.assert_allclose(reference.act(policy, x), theirs, atol=4e-6)
    assert len(np.unique(theirs)) > 2
