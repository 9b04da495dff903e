"""What every process that we start has in common: it computes on one core and is gone when its parent is."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import final

ONE_THREAD: dict[str, str] = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)
"""The environment of a process that computes on one core."""

UNGUARDED = 78
"""The exit code of a process that `refuse_unguarded` ended."""
GUARD = "in a script call this under `if __name__ == '__main__':`, since its worker processes run the script too"
"""What mends that."""


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """What starts meanwhile computes on one core: it reads this as it imports numpy, before any code of ours runs."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@final
class _Process(SpawnProcess):
    """One that computes on one core, and that Ctrl-C does not reach before `start`, whatever it imports until then."""

    def start(self) -> None:
        resource_tracker.ensure_running()  # the first to start it lets Ctrl-C through again
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which the new process inherits
        try:
            with one_thread():
                super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@final
class Spawn(SpawnContext):
    """Where each of our processes is from; the first that it does is `start`."""

    Process = _Process


def start(end: Callable[[], object] = lambda: os._exit(1)) -> None:
    """Begin a process that leaves Ctrl-C, which reaches all of a terminal, to its parent, and ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # what came before is forgotten
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    end_with_parent(end)


def refuse_unguarded() -> None:
    """End the process where a script without a guard begins its own work again, in a process that it started.

    A process that is spawned runs the script that its parent is, to know what stands in it.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        os._exit(UNGUARDED)


def end_with_parent(end: Callable[[], object]) -> None:
    """End with the parent: one that was killed cannot end its children."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            end()

    threading.Thread(target=wait, daemon=True).start()
