"""Return against bytes over all teachers: what a policy is worth where only its size and its return count.

Beside them the small networks that were trained from scratch with quantization-aware SAC and published with
arXiv 2512.01467 (means of ten training seeds). Their bytes: weights by their bits in whole bytes a layer, four a bias,
and eight an input for the normalizer.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from lilliput.report.label import label
from lilliput.report.printed_table import PrintedTable
from lilliput.report.recipe_text import steps
from lilliput.report.row import Row, undisturbed
from lilliput.statistics import student_t_quantile

PUBLISHED: dict[str, tuple[tuple[int, float], ...]] = {
    "HalfCheetah-v4": (
        (300, 5512), (472, 6750), (912, 8040), (2176, 8742), (6240, 9943), (20_512, 10_970),
    ),
    "Walker2d-v4": ((472, 3451), (856, 4324), (912, 4629), (2176, 4723), (6016, 4950)),
    "Hopper-v4": ((204, 2114), (340, 3056), (708, 3225), (19_428, 3514)),
    "Ant-v4": ((1040, 3715), (1192, 4020), (2344, 4784), (2648, 4877), (7096, 5656)),
    "Humanoid-v4": ((3942, 3507), (4343, 5957), (4840, 5385), (5658, 6533)),
}  # fmt: skip
"""Bytes and mean return; those of which only a share of the float policy's return was published are rounded by it."""


@final
@dataclass(frozen=True)
class FrontPoint:
    """One policy as it is judged here: its bytes and its return, whoever it learned from.

    Attributes:
        low, high: the 95 % interval of its mean return, by Student's t over episodes.
        leads: whether none of ours is both no larger and better.
        published: the best of the published ones that are no larger; None: there is none.
    """

    row: Row
    bytes: int
    value: float
    low: float
    high: float
    leads: bool
    published: float | None


def fronts(rows: Sequence[Row]) -> dict[str, tuple[FrontPoint, ...]]:
    """The policies of each environment where students were made and that has several teachers or published points, the
    smallest first.
    """
    by_environment: dict[str, list[Row]] = defaultdict(list)
    for row in undisturbed(rows):
        if row.model_bytes is not None and row.mean_return is not None and row.sd_return is not None:
            by_environment[row.environment].append(row)
    return {
        name: _points(name, own)
        for name, own in sorted(by_environment.items())
        if (len({row.policy for row in own}) > 1 or name in PUBLISHED)
        and any(step.name == "distill" for row in own for step in steps(row.recipe))
    }


def _points(environment: str, rows: Sequence[Row]) -> tuple[FrontPoint, ...]:
    found: list[FrontPoint] = []
    most = -math.inf
    for row in sorted(rows, key=lambda row: (row.model_bytes or 0, -(row.mean_return or 0))):
        size, value = row.model_bytes or 0, row.mean_return or 0.0
        spread = (row.sd_return or 0.0) / math.sqrt(max(row.n_episodes, 1))
        half = spread * student_t_quantile(0.975, row.n_episodes - 1) if row.n_episodes > 1 else math.inf
        published = max((float(worth) for at, worth in PUBLISHED.get(environment, ()) if at <= size), default=None)
        found.append(FrontPoint(row, size, value, value - half, value + half, bool(value > most), published))
        most = max(most, value)
    return tuple(found)


def tables(rows: Sequence[Row]) -> tuple[PrintedTable, ...]:
    """A table an environment: the policies that lead, and what was published at no more bytes."""
    return tuple(
        PrintedTable(
            f"front-{name}",
            f"{name}: return against bytes over all teachers; mean of so many episodes with its 95 % interval, beside "
            "the best published one that is no larger (arXiv 2512.01467)",
            ("policy", "recipe", "bytes", "return", "95 % interval", "episodes", "published"),
            tuple(map(_line, (point for point in points if point.leads))),
        )
        for name, points in fronts(rows).items()
    )


def _line(point: FrontPoint) -> tuple[str, ...]:
    row = point.row
    source = dict(row.names).get("source", "")
    return (
        f"{label(row)} ({source})" if source else label(row),
        row.recipe or "(as it was)",
        f"{point.bytes:,}",
        f"{point.value:,.0f}",
        f"{point.low:,.0f} to {point.high:,.0f}" if math.isfinite(point.low) else "-",
        str(row.n_episodes),
        "-" if point.published is None else f"{point.published:,.0f}",
    )
