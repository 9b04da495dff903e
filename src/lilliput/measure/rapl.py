"""Intel's and AMD's energy counters as Linux shows them: microjoules of each processor package, which wrap around."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import final

from lilliput.errors import MissingDependency

ROOT = Path("/sys/class/powercap")

UPDATES_PER_WINDOW = 100
"""A window of fewer counter updates could be wrong by more than a percent at its ends."""


_DROP = "leave energy out"


@final
@dataclass(frozen=True)
class Domain:
    """One package's counter: where it is read, and the microjoules after which it starts again from 0."""

    name: str
    path: Path
    range_uj: int


@final
@dataclass(frozen=True)
class Counter:
    """The energy counters of all packages of the machine."""

    domains: tuple[Domain, ...]

    def read(self) -> tuple[int, ...]:
        """The microjoules of each package."""
        return tuple(int(domain.path.read_text()) for domain in self.domains)

    def joules(self, before: tuple[int, ...], after: tuple[int, ...]) -> float:
        """The energy between two readings, each counter having wrapped at most once.

        >>> counter = Counter((Domain("package-0", Path("energy_uj"), 1000),))
        >>> counter.joules((990,), (15,))
        2.5e-05
        """
        changes = ((b - a) % d.range_uj for d, a, b in zip(self.domains, before, after, strict=True))
        return sum(changes) / 1e6


def open_counter(root: Path = ROOT) -> Counter:
    """The counters of all packages below `root`.

    Raises:
        MissingDependency: there is none, or it cannot be read; the message says which.
    """
    found = [folder for folder in sorted(root.glob("intel-rapl:*")) if folder.name.count(":") == 1]
    domains = []
    for folder in found:
        path = folder / "energy_uj"
        try:
            name = (folder / "name").read_text().strip()
            if not name.startswith("package"):
                continue
            int(path.read_text())
            domains.append(Domain(name, path, int((folder / "max_energy_range_uj").read_text())))
        except PermissionError:
            raise MissingDependency(f"energy: {path}: permission denied; run as root or {_DROP}") from None
        except (OSError, ValueError) as error:
            raise MissingDependency(f"energy: {folder}: cannot be read ({error}); {_DROP}") from None
    if not domains:
        raise MissingDependency(f"energy: {root} has no package counter (RAPL); measure elsewhere or {_DROP}")
    return Counter(tuple(domains))


def update_interval_s(
    counter: Counter, clock: Callable[[], float] = time.perf_counter, timeout_s: float = 2.0
) -> float:
    """How often the counter changes.

    Raises:
        MissingDependency: it stands still.
    """
    start = last = clock()
    value, gaps = counter.read(), []
    while len(gaps) < 21:
        now = clock()
        if (new := counter.read()) != value:
            gaps.append(now - last)
            value, last = new, now
        elif now - start > timeout_s:
            path = counter.domains[0].path
            raise MissingDependency(f"energy: {path} does not change; measure elsewhere or {_DROP}")
    return statistics.median(gaps[1:])


@final
@dataclass(frozen=True)
class Window:
    """What the counter said while something ran: joules, seconds, and how often it ran."""

    joules: float
    seconds: float
    count: int


def watch(
    counter: Counter, work: Callable[[], int], seconds: float, clock: Callable[[], float] = time.perf_counter
) -> Window:
    """What the counter says while `work` runs again and again, from one counter update to another.

    `work` returns how much it did, and takes less time than the counter's range lasts.
    """
    edge = counter.read()
    while (before := counter.read()) == edge:
        continue
    start, count, joules = clock(), 0, 0.0
    last = before
    while True:
        count += work()
        now = counter.read()
        # Summed piece by piece, so that a long window may wrap more than once.
        joules += counter.joules(last, now)
        changed, last = now != last, now
        elapsed = clock() - start
        if changed and elapsed >= seconds:
            return Window(joules, elapsed, count)
