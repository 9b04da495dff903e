"""What every player refuses and cuts. Oracle: environments that count, and break on purpose."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box

from lilliput.errors import LilliputError
from lilliput.policies import reference, spaces
from lilliput.policies.export import export, open_artifact
from lilliput.policies.layers import Dense
from lilliput.policies.play import (
    MAX_STEPS,
    EnvironmentSpec,
    Lockstep,
    OutOfTime,
    collect,
    episode_returns,
    episodes,
    failure,
    make_environment,
    random_returns,
)
from lilliput.policies.policy import Policy

NAME = "LilliputOdd-v0"


class Odd(gymnasium.Env):
    """Ends after `length` steps, 0: never; observes `seen` from step `at` on; raises in `breaks`."""

    def __init__(self, length: int = 0, at: int = -1, seen: float = np.nan, breaks: str = "", wide: bool = False):
        if breaks == "make":
            raise AssertionError
        if breaks == "exit":
            raise SystemExit(3)
        self.observation_space = Box(-np.inf, np.inf, (80 if wide else 2,), np.float64 if wide else np.float32)
        self.action_space = Box(-2, 2, (1,), np.float32)
        self.length, self.at, self.seen, self.breaks = length, at, seen, breaks

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if self.breaks == "reset":
            raise KeyError("robot\n is  not there")
        self.n = 0
        return self._observation(), {}

    def step(self, action: Any) -> Any:
        self.n += 1
        if self.n == 3 and self.breaks == "step":
            raise RuntimeError("the simulation\x1b[33m is unstable\nsecond line")
        reward = {"reward": None, "rewards": np.ones((1, 2)), "word": "much"}.get(self.breaks, 1.0)
        given: Any = (self._observation(), reward, self.n == self.length, False, {})
        return {"four": given[:4], "nothing": None}.get(self.breaks, given)

    def _observation(self) -> np.ndarray:
        space = self.observation_space
        assert isinstance(space, Box)
        found = np.zeros(space.shape, space.dtype)
        if 0 <= self.at <= self.n:
            found[-1] = self.seen
        return found


@pytest.fixture(autouse=True)
def odd() -> Iterator[None]:
    gymnasium.register(NAME, Odd)  # type: ignore[arg-type]
    yield
    del gymnasium.registry[NAME]


def policy(n: int = 2) -> Policy:
    box = spaces.Box((n,), np.full(n, -np.inf), np.full(n, np.inf))
    layer = Dense(np.ones((1, n), np.float32), np.zeros(1, np.float32))
    return Policy(box, spaces.Box((1,), np.asarray(-2.0), np.asarray(2.0)), (layer,))


def test_an_episode_without_an_end_is_cut() -> None:
    (episode,) = episodes(lambda _: np.zeros(1, np.float32), NAME, [0])
    assert (episode.length, episode.terminated, episode.truncated) == (MAX_STEPS, False, True)
    assert MAX_STEPS == 100_000
    lockstep = Lockstep(EnvironmentSpec(NAME, max_steps=50), policy().observation_space, 2, itertools.count())
    np.testing.assert_array_equal(lockstep.returns(lambda x: reference.act(policy(), x), [1, 2]), [50, 50])


@pytest.mark.parametrize("seen", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("format_", ["reference", "onnx", "c"])
def test_what_is_not_finite_is_refused_in_every_format_alike(format_: str, seen: float, tmp_path: Path) -> None:
    act: Any = policy()
    if format_ != "reference":
        act = open_artifact(export(policy(), format_, tmp_path / "artifact").folder)
    with pytest.raises(LilliputError, match=rf"{NAME}, episode seed 7, step 4: the observation is not finite: 1 of 2"):
        episodes(act, NAME, [7], environment_kwargs={"length": 9, "at": 4, "seen": seen})
    # Nobody acts on the observation behind the last step.
    assert episode_returns(act, NAME, [7], environment_kwargs={"length": 4, "at": 4, "seen": seen}) == [4]


def test_everyone_who_plays_refuses_it() -> None:
    kwargs: dict[str, Any] = {"length": 9, "at": 0}
    with pytest.raises(LilliputError, match="seed 1, step 0: the observation is not finite"):
        random_returns(NAME, [1], environment_kwargs=kwargs)
    with pytest.raises(LilliputError, match="step 0: the observation is not finite"):
        collect(policy(), NAME, 5, [1], np.random.default_rng(0), environment_kwargs=kwargs)
    spec = EnvironmentSpec(NAME, (), {"length": 9, "at": 2})
    lockstep = Lockstep(spec, policy().observation_space, 2, itertools.count())
    with pytest.raises(LilliputError, match="step 2: the observation is not finite"):
        lockstep.returns(lambda x: reference.act(policy(), x), [1, 2])
    fine = Lockstep(EnvironmentSpec(NAME), policy().observation_space, 1, itertools.count())
    actions = iter([0.0, 0.0, 0.0, np.nan])
    with pytest.raises(LilliputError, match="step 3: the action is not finite"):
        fine.returns(lambda x: np.full((len(x), 1), next(actions), np.float32), [1])


@pytest.mark.parametrize("seen", [np.nan, 1e300])
def test_many_numbers_are_looked_at_too_and_none_is_too_large(seen: float) -> None:
    with pytest.raises(LilliputError, match=r"the observation is not finite: 1 of 80 numbers, (nan|inf) at 79"):
        random_returns(NAME, [1], environment_kwargs={"length": 9, "at": 1, "wide": True, "seen": seen})


@pytest.mark.parametrize(
    ("breaks", "message"),
    [
        ("make", r"LilliputOdd-v0 cannot be made: AssertionError without a word in play/test_player.py, line \d+"),
        ("exit", r"LilliputOdd-v0 cannot be made: SystemExit: 3"),
        ("reset", r"LilliputOdd-v0, episode seed 5, step 0 cannot be reset: KeyError: 'robot"),
        ("step", r"episode seed 5, step 2 failed at a step: RuntimeError: the simulation.33m is unstable second line"),
        ("reward", r"seed 5, step 0 failed at a step: TypeError: the reward is a NoneType; it must be one number"),
        ("rewards", r"the reward is of shape \[1, 2\]; it must be one number"),
        ("word", r"the reward is a str; it must be one number"),
        ("four", r"step gives 4 values; it must give observation, reward, terminated, truncated and info"),
        ("nothing", r"step gives a NoneType; it must give observation"),
    ],
)
def test_whatever_an_environment_raises_is_one_line(breaks: str, message: str) -> None:
    with pytest.raises(LilliputError, match=message) as caught:
        random_returns(NAME, [5], environment_kwargs={"length": 9, "breaks": breaks})
    assert "\n" not in str(caught.value)
    assert f"gymnasium {gymnasium.__version__}" in str(caught.value)


def test_what_a_module_raises_at_its_import_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lilliput_broken_module.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(LilliputError, match=r"cannot be imported: ZeroDivisionError: division by zero in .*, line 1"):
        make_environment("lilliput_broken_module:Thing-v0")


@pytest.mark.parametrize(("mujoco", "advised"), [("4.0.0", True), ("3.9.0", False)])
def test_the_mujoco_to_install_is_named(monkeypatch: pytest.MonkeyPatch, mujoco: str, advised: bool) -> None:
    packages = {"gymnasium-robotics": "1.4.2", "mujoco": mujoco}
    monkeypatch.setattr(failure, "versions_of", lambda _: packages)
    error = failure.failure("FetchReach-v4", "cannot be made", AssertionError(), "gymnasium_robotics:FetchReach")
    assert ("pip install 'mujoco==3.9.0'" in str(error)) is advised
    assert f"(gymnasium-robotics 1.4.2, mujoco {mujoco})" in str(error)


def test_the_time_is_over_in_the_middle_of_an_episode(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    original = Odd.step

    def counted(self: Odd, action: Any) -> Any:
        steps.append(1)
        return original(self, action)

    monkeypatch.setattr(Odd, "step", counted)
    monkeypatch.setattr("time.monotonic", lambda: float(len(steps)))
    lockstep = Lockstep(EnvironmentSpec(NAME), policy().observation_space, 2, itertools.count(), deadline=25.0)
    with pytest.raises(OutOfTime):
        lockstep.returns(lambda x: reference.act(policy(), x), [1, 2])
    assert len(steps) == 26
    steps.clear()
    with pytest.raises(OutOfTime):
        collect(policy(), NAME, 5, itertools.count(), np.random.default_rng(0), deadline=25.0)
    assert len(steps) == 26


def test_an_arguments_error_is_one_line() -> None:
    with pytest.raises(LilliputError, match="cannot be made with") as caught:
        make_environment(NAME, environment_kwargs=json.loads('{"nothing": 1}'))
    assert "\n" not in str(caught.value)
