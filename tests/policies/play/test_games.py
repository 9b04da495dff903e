"""How episodes of a game differ, held to what the emulator itself says."""

from typing import Any

import gymnasium
import pytest

from lilliput.policies.play.games import how_episodes_differ
from lilliput.study.environment import about_the_task
from lilliput.task import Task


@pytest.mark.parametrize("name", ["ALE/Pong-v5", "PongNoFrameskip-v4", "PongNoFrameskip-v0", "Pong-v4"])
@pytest.mark.parametrize("kwargs", [{}, {"repeat_action_probability": 0.1}, {"repeat_action_probability": 0}])
def test_sticky_actions_are_said_where_the_emulator_has_them(name: str, kwargs: dict[str, Any]) -> None:
    gymnasium.register_envs(pytest.importorskip("ale_py"))
    env: Any = gymnasium.make(name, **kwargs)
    sticky = env.unwrapped.ale.getFloat("repeat_action_probability")
    env.close()
    (said,) = about_the_task(name, Task.of(name, kwargs))
    assert (f"with probability {sticky:g}" in said) == (sticky > 0)
    assert ("is deterministic" in said) == (sticky == 0)


@pytest.mark.parametrize("name", ["CartPole-v1", "Never-v0", "my_module:Never-v0"])
def test_nothing_is_said_of_what_is_no_game(name: str) -> None:
    assert how_episodes_differ(name, {}) == ""
