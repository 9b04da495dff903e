"""One of several processes that play episodes: see `episode.play`."""

import functools
import pickle
from typing import Any

from lilliput import child_process

_job = b""


def start(job: bytes) -> None:
    """Keep the job for the first episode, where an error in it can be told."""
    global _job
    _job = job
    child_process.start()


def play(seeds: tuple[int, ...]) -> list[Any]:
    """The episodes of those seeds."""
    stage, act_of_seed = _opened()
    return [episode for episode, _ in stage.play_all(seeds, act_of_seed)]


@functools.cache
def _opened() -> tuple[Any, Any]:
    """The stage and what acts on it, as the parent process sent them."""
    return pickle.loads(_job)  # noqa: S301 (from the parent process)
