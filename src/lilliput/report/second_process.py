"""What a report of thousands of records gives a second core to do."""

import contextlib
import os
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from lilliput import child_process
from lilliput.errors import LilliputError
from lilliput.report import figures

MANY = 1_000
"""Records; with fewer, starting a process takes longer than it saves."""


@contextlib.contextmanager
def second_process(n_records: int) -> Iterator[Executor | None]:
    """A process that gets ready while the records are read; None where they are few or there is one core.

    Raises:
        LilliputError: it ended before its work was done.
    """
    if n_records < MANY or (os.cpu_count() or 1) < 2:
        yield None
        return
    try:
        with ProcessPoolExecutor(1, child_process.Spawn(), child_process.start) as pool:
            pool.submit(figures.load)
            yield pool
    except BrokenProcessPool as error:
        raise LilliputError(
            f"the second process of the report ended ({error}), of too little memory, say; run the same command again"
        ) from error
