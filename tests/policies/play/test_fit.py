"""Which policies may play which environments: shapes, and bounds where both sides have one."""

from typing import Any

import gymnasium
import numpy as np
import pytest

from lilliput.errors import LilliputError
from lilliput.policies import spaces
from lilliput.policies.play import EnvironmentSpec, check_fit, follows_its_seed

SEEN = spaces.Box((3,), np.asarray(-np.inf), np.asarray(np.inf))


class Bounded(gymnasium.Env):
    """An environment of these spaces; nobody plays it."""

    def __init__(self, action_space: Any, observation_space: Any = None) -> None:
        self.action_space = action_space
        self.observation_space = observation_space or gymnasium.spaces.Box(-np.inf, np.inf, (3,))

    def __str__(self) -> str:
        return "Bounded"


def box(low: Any, high: Any, size: int = 2) -> spaces.Box:
    return spaces.Box((size,), np.asarray(low, np.float64), np.asarray(high, np.float64))


def theirs(low: Any, high: Any, size: int = 2) -> gymnasium.spaces.Box:
    low, high = (np.broadcast_to(np.asarray(bound, np.float32), (size,)) for bound in (low, high))
    return gymnasium.spaces.Box(low, high)


@pytest.mark.parametrize(
    ("mine", "offered", "said"),
    [
        (box(-1, 1), theirs(-2, 2), r"lie in \[-1, 1\], those of Bounded in \[-2, 2\]; load it with --rescale-action"),
        (box(-1, 1), theirs(-0.4, 0.4), r"\[-1, 1\], those of Bounded in \[-0.4, 0.4\]"),
        (box(-1, 1), theirs([-1, 0], 1), r"those of Bounded in \[\(-1, 0\), 1\]"),
        (box(-2, 2), theirs(-1, 1), r"\[-2, 2\]"),
        (box(0, 1), theirs(-1, 1), r"\[0, 1\], those of Bounded in \[-1, 1\]"),
        (box(-1, np.inf), theirs(-2, 2), r"\[-1, inf\]"),
    ],
)
def test_actions_in_other_bounds_are_refused(mine: spaces.Box, offered: Any, said: str) -> None:
    with pytest.raises(LilliputError, match=said) as caught:
        check_fit(SEEN, mine, Bounded(offered))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("mine", "offered"),
    [
        (box(-2, 2), theirs(-2, 2)),
        (box(np.float32(-0.4), np.float32(0.4)), theirs(-0.4, 0.4)),
        (box(-0.4, 0.4), theirs(-0.4, 0.4)),
        (box(-1e-6, 1e-6), theirs(-1e-6, 1e-6)),
        (box(-np.inf, np.inf), theirs(-2, 2)),
        (box(-1, 1), theirs(-np.inf, np.inf)),
        (box(-1, np.inf), theirs(-1, np.inf)),
    ],
)
def test_bounds_that_agree_where_both_have_one_are_well(mine: spaces.Box, offered: Any) -> None:
    check_fit(SEEN, mine, Bounded(offered))


def test_observations_in_other_units_are_refused() -> None:
    pixels = spaces.Box((3,), np.asarray(0.0), np.asarray(255.0), "uint8")
    actions, one = theirs(-1, 1), gymnasium.spaces.Box(0, 1, (3,))
    with pytest.raises(
        LilliputError, match=r"observations lie in \[0, 255\], those of Bounded in \[0, 1\]: other units"
    ):
        check_fit(pixels, box(-1, 1), Bounded(actions, one))
    check_fit(pixels, box(-1, 1), Bounded(actions, gymnasium.spaces.Box(0, 255, (3,), np.uint8)))
    # LunarLander's bounds changed from one version of Gymnasium to the next, CartPole's are open in one of them.
    landers = [spaces.Box((3,), -bound, bound) for bound in (np.array([1.5, 5.0, 3.14]), np.array([2.5, 10.0, 6.28]))]
    wide = np.array([2.5, 10, 6.28], np.float32)
    for lander in landers:
        check_fit(lander, box(-1, 1), Bounded(actions, gymnasium.spaces.Box(-wide, wide)))
    huge = np.full(3, 3.4e38, np.float32)
    check_fit(landers[0], box(-1, 1), Bounded(actions, gymnasium.spaces.Box(-huge, huge)))


class Drawn(gymnasium.Env):
    """A start, steps and rewards that are drawn from the seed's generator or from another."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float64)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, start: bool, steps: bool, rewards: bool) -> None:
        self._seeded = {"start": start, "steps": steps, "rewards": rewards}
        self._other = np.random.default_rng()

    def _draw(self, what: str) -> float:
        return (self.np_random if self._seeded[what] else self._other).normal()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        return np.array([self._draw("start")]), {}

    def step(self, action: Any) -> Any:
        return np.array([self._draw("steps")]), self._draw("rewards"), False, False, {}


@pytest.mark.parametrize("other", [(), ("start",), ("steps",), ("rewards",)])
def test_an_environment_that_plays_another_episode_of_the_same_seed_is_known(other: tuple[str, ...]) -> None:
    seeded = {what: what not in other for what in ("start", "steps", "rewards")}
    gymnasium.register("Drawn-v0", entry_point=lambda **kwargs: Drawn(**kwargs), kwargs=seeded)
    try:
        assert follows_its_seed(EnvironmentSpec("Drawn-v0")) == (not other)
    finally:
        del gymnasium.registry["Drawn-v0"]
    assert follows_its_seed(EnvironmentSpec("CartPole-v1"))
