"""Cells on this machine's cores: as many processes as asked, each record kept as soon as it is there."""

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from pathlib import Path

from lilliput.errors import LilliputError
from lilliput.record import Cell, Record
from lilliput.study.run import Progress, record_of, run


def run_all(cells: Sequence[Cell], folder: Path, workers: int, progress: Progress) -> Iterator[Record]:
    """The records of the cells, those that are there already first, the others as they come.

    Raises:
        LilliputError: a worker process was killed; what was finished is kept.
    """
    todo = []
    for cell in cells:
        record = record_of(folder, cell)
        if record is not None and record.status != "failed":
            yield record
        else:
            todo.append(cell)
    if workers <= 1 or len(todo) <= 1:
        for cell in todo:
            yield run(cell, folder, progress)
        return
    context = multiprocessing.get_context("spawn")
    counts = {"done": 0}
    with _pool(ProcessPoolExecutor(min(workers, len(todo)), mp_context=context, initializer=_one_thread)) as pool:
        pending = {pool.submit(_run_quietly, cell, folder) for cell in todo}
        while pending:
            finished, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in finished:
                error = future.exception()
                if error is not None:
                    raise LilliputError(
                        f"a worker process ended ({error or type(error).__name__}); run the same command to go on"
                    ) from error
                counts["done"] += 1
                progress("cells", counts["done"], len(todo))
                yield future.result()


@contextlib.contextmanager
def _pool(pool: ProcessPoolExecutor) -> Iterator[ProcessPoolExecutor]:
    try:
        yield pool
    except BaseException:
        # Interrupted: do not wait for cells that would take minutes; their records are written whole or not at all.
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        raise
    pool.shutdown()


def _one_thread() -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"


def _run_quietly(cell: Cell, folder: Path) -> Record:
    return run(cell, folder, _silent)


_silent: Callable[[str, int, int], None] = lambda _what, _done, _total: None  # noqa: E731
