"""The processes that a shrink works with; those that do not keep to their time are ended."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from typing import ParamSpec, TypeVar, final

from lilliput import child_process
from lilliput.errors import LilliputError

P = ParamSpec("P")
T = TypeVar("T")


@final
class Workers:
    """An executor that can be given up for another one of its kind, which `start` gives."""

    def __init__(self, start: Callable[[], Executor]) -> None:
        self._start = start
        self._executor = start()

    def submit(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """What the work will give."""
        return self._executor.submit(work, *args, **kwargs)

    def renew(self) -> None:
        """Others take the place of all processes, whose work is given up."""
        self.stop()
        self._executor = self._start()

    def stop(self) -> None:
        """Ends them, whatever they do."""
        processes = list((getattr(self._executor, "_processes", None) or {}).values())
        self._executor.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()

    def close(self) -> None:
        """Waits for what they do, and ends them."""
        self._executor.shutdown()


def result(future: "Future[T]") -> T:
    """What the work gave.

    Raises:
        LilliputError: its process ended.
    """
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise LilliputError(
            f"a worker process ended ({error}); run the same command to go on; {child_process.GUARD}"
        ) from error


@contextmanager
def workers(n: int) -> Iterator[Workers]:
    """So many processes, each of which starts with its first work.

    They are ended, not waited for, where something goes wrong or the user interrupts.
    """
    found = Workers(lambda: ProcessPoolExecutor(n, child_process.Spawn(), child_process.start))
    with ExitStack() as wrong:
        wrong.callback(found.stop)
        yield found
        wrong.pop_all()
    found.close()
