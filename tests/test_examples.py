"""The policies in examples/policies are what their README says, and Lilliput reads them as their framework does."""

import re
from pathlib import Path

import numpy as np
import pytest

import lilliput

FOLDER = Path(__file__).parent.parent / "examples" / "policies"
NAMES = sorted(path.name for path in FOLDER.iterdir() if path.is_dir())
# | `name` (what) | layers | steps | seed | mean ± sd | worst decile | bytes |
ROW = re.compile(
    r"^\| `(?P<name>[\w-]+)`.*\| (?P<mean>-?[\d.]+) ± (?P<sd>[\d.]+) \| -?[\d.]+ \| (?P<bytes>[\d,]+) \|$", re.MULTILINE
)
REPORTED = {row["name"]: row for row in ROW.finditer((FOLDER / "README.md").read_text())}


def test_there_is_a_row_for_each_of_at_least_three_policies() -> None:
    assert sorted(REPORTED) == NAMES
    assert len(NAMES) >= 3


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_small(name: str) -> None:
    (zip_,) = (FOLDER / name).glob("*.zip")
    assert zip_.stat().st_size == int(REPORTED[name]["bytes"].replace(",", ""))
    assert sum(path.stat().st_size for path in (FOLDER / name).iterdir()) < 1_000_000


@pytest.mark.frameworks
@pytest.mark.parametrize("name", NAMES)
def test_an_example_acts_as_its_framework(name: str) -> None:
    stable_baselines3 = pytest.importorskip("stable_baselines3")
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import VecNormalize

    algorithm, environment = name.split("-", 1)
    env = make_vec_env(environment, n_envs=4, seed=3)
    if (FOLDER / name / "vecnormalize.pkl").exists():
        env = VecNormalize.load(str(FOLDER / name / "vecnormalize.pkl"), env)
        env.training = False
    families = {"ppo": stable_baselines3.PPO, "sac": stable_baselines3.SAC}
    model = families[algorithm].load(FOLDER / name / f"{name}.zip", device="cpu")

    policy = lilliput.load_policy(FOLDER / name)
    seen = env.reset()
    for _ in range(250):
        raw = env.get_original_obs() if isinstance(env, VecNormalize) else seen
        theirs, _ = model.predict(seen, deterministic=True)
        ours = lilliput.act(policy, raw)
        if theirs.dtype.kind == "i":
            assert np.array_equal(ours, theirs)
        else:
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)
        seen, _, _, _ = env.step(theirs)
    env.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_as_good_as_reported(name: str, tmp_path: Path) -> None:
    mean, sd = float(REPORTED[name]["mean"]), float(REPORTED[name]["sd"])
    seeds = range(2_000_000, 2_000_100)
    lilliput.export(lilliput.load_policy(FOLDER / name), "c", tmp_path / "artifact")
    act = lilliput.open_artifact(tmp_path / "artifact")
    returns = lilliput.episode_returns(act, name.split("-", 1)[1], seeds=seeds)
    # The same episodes, but the last bit of an action can lead a simulator elsewhere: four standard errors.
    assert abs(returns.mean() - mean) < 4 * sd * np.sqrt(2 / len(seeds))
