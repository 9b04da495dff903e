"""One of several processes that play episodes: see `episode.play`."""

import functools
import multiprocessing
import os
import pickle
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lilliput.rollout.episode import ActOfSeed, Episode, Stage

_job = b""


def start(job: bytes) -> None:
    """Nothing; keeps the job for the first episode, where an error in it can be told."""
    global _job
    _job = job
    # Ctrl-C reaches every process of the terminal; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def play(seed: int) -> "Episode":
    """The episode of that seed."""
    stage, act_of_seed = _opened()
    return stage.play(seed, act_of_seed)


@functools.cache
def _opened() -> "tuple[Stage, ActOfSeed]":
    return pickle.loads(_job)  # noqa: S301 (from the parent process)


def _end_with_parent() -> None:
    """Never returns: a parent that was killed cannot end its workers, and they would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
