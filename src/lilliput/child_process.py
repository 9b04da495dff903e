"""What every process that we start has in common: it computes on one core and is gone when its parent is."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator

ONE_THREAD: dict[str, str] = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)
"""The environment of a process that computes on one core."""


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


def start() -> None:
    """Begin a process that leaves Ctrl-C, which reaches all of a terminal, to its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(lambda: os._exit(1))


def end_with_parent(end: Callable[[], object]) -> None:
    """End with the parent: one that was killed cannot end its children."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            end()

    threading.Thread(target=wait, daemon=True).start()
