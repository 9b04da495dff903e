"""What a report of thousands of records gives a second core to do."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor

from lilliput.report import figures

MANY = 1_000
"""Records; with fewer, starting a process takes longer than it saves."""

_THREADS = "OPENBLAS_NUM_THREADS"


@contextlib.contextmanager
def aside(n_records: int) -> Iterator[Executor | None]:
    """A process that gets ready while the records are read; None where they are few or there is one core."""
    if n_records < MANY or (os.cpu_count() or 1) < 2:
        yield None
        return
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _start) as pool:
        before = os.environ.get(_THREADS)
        os.environ[_THREADS] = "1"  # read as numpy is imported there: each core has a process already
        try:
            pool.submit(figures.load)
        finally:
            if before is None:
                del os.environ[_THREADS]
            else:
                os.environ[_THREADS] = before
        yield pool


def _start() -> None:
    # Ctrl-C reaches every process of the terminal; the first one ends this.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
