"""How the episodes of an Atari game differ: the games themselves are deterministic."""

import importlib.util
from collections.abc import Mapping
from typing import Any

from lilliput.policies.play.wrappers import Atari

_STICKY = "repeat_action_probability"
_STICKY_BY_ITSELF = 0.25
"""Where neither the id nor an argument says (ale-py 0.11 and later, `AtariEnv`)."""


def how_episodes_differ(environment: str, kwargs: Mapping[str, Any]) -> str:
    """What an interval over episodes of the game is over, a sentence; "" of what is no Atari game, or not registered.

    >>> how_episodes_differ("CartPole-v1", {})
    ''
    """
    import gymnasium

    if importlib.util.find_spec("ale_py") is not None:
        gymnasium.register_envs(importlib.import_module("ale_py"))
    try:
        spec = gymnasium.spec(environment)
    except (gymnasium.error.Error, ImportError, ValueError):
        return ""
    if not str(spec.entry_point).startswith("ale_py"):
        return ""
    sticky = {_STICKY: _STICKY_BY_ITSELF, **spec.kwargs, **kwargs}[_STICKY]
    starts = f"by the no-ops of the wrapper atari at their start (up to {Atari().noop_max} unless it says otherwise)"
    if not sticky:
        return (
            f"{environment} is deterministic: episodes differ {starts} alone, and intervals are over those; "
            f"--env-kwargs '{{\"{_STICKY}\": {_STICKY_BY_ITSELF:g}}}' (sticky actions) shows what it can besides"
        )
    return (
        f"{environment} repeats an action with probability {sticky:g} (sticky actions): episodes differ by that and "
        f"{starts}; --env-kwargs '{{\"{_STICKY}\": 0}}' takes it away"
    )
