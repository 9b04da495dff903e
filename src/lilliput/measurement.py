"""What is measured, in which unit and how: quantities, raw values, conditions.

Medians, intervals and percent exist only in `report`.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, final

from lilliput.errors import LilliputError

Better = Literal["higher", "lower"]


@final
@dataclass(frozen=True)
class Quantity:
    """Something that can be measured on an artifact.

    Attributes:
        name: as records and study files spell it.
        unit: SI base unit, "byte", "1" for a count, "share" of 1, "return" for what the environment pays.
        better: whether higher or lower is better.
        timing: whether its measurement must run alone on the machine.
        version: raised when the meaning of the values changes.
        description: one value of it, in words.
        column: heading of a column of its own in the table and on the page; empty: shown in another, or nowhere.
    """

    name: str
    unit: str
    better: Better
    timing: bool
    version: int
    description: str
    column: str = ""


_ROWS = (
    Quantity(
        "episode_return", "return", "higher", False, 1, "the undiscounted return of one episode, one value a seed"
    ),
    Quantity(
        "item_score",
        "1",
        "higher",
        False,
        1,
        "of a model: log likelihood of a token (nats), or 1 for what is right",
    ),
    Quantity(
        "drawn_score",
        "1",
        "higher",
        False,
        1,
        "of a model: a metric of all items, then of each draw of them, which all models share",
    ),
    Quantity("zipped_bytes", "byte", "lower", False, 1, "the model's files in one zip archive (deflate)", "zipped"),
    Quantity(
        "pruned_still_zero",
        "share",
        "higher",
        False,
        1,
        "of the weights that a step pruned, those that are zero in the artifact",
        "still zero",
    ),
    Quantity(
        "two_in_four",
        "share",
        "higher",
        False,
        1,
        "of the groups of four neighbouring inputs in pruned layers, those with two zeros in the artifact",
        "2:4",
    ),
    Quantity(
        "flips",
        "share",
        "lower",
        False,
        1,
        "of the items, those whose answer is right in the baseline and wrong here, or the other way round",
        "flips",
    ),
    Quantity("episode_length", "1", "higher", False, 1, "the steps of one episode, one value a seed"),
    Quantity(
        "episode_terminated",
        "1",
        "lower",
        False,
        1,
        "1 where an episode ended by itself, as by a fall, 0 where a limit of steps cut it, one value a seed",
    ),
    Quantity(
        "episode_time_s",
        "s",
        "lower",
        True,
        1,
        "wall time of one episode with the environment's own, as arXiv 2407.04803",
    ),
    Quantity(
        "model_bytes",
        "byte",
        "lower",
        False,
        1,
        "every constant that a decision or an answer reads, packed as it is stored (by the C format)",
    ),
    Quantity("file_bytes", "byte", "lower", False, 1, "the files of a model, or the compiled object (c), on disk"),
    Quantity("n_parameters", "1", "lower", False, 1, "weights and biases"),
    Quantity("n_nonzero_parameters", "1", "lower", False, 1, "weights and biases that are not zero"),
    Quantity("n_macs", "1", "lower", False, 1, "multiply-accumulates of one decision"),
    Quantity("latency_s", "s", "lower", True, 1, "one decision at batch 1 on one thread, the environment left out"),
    Quantity(
        "baseline_latency_s", "s", "lower", True, 1, "the same of the uncompressed policy, interleaved in the same run"
    ),
    Quantity(
        "peak_memory_bytes", "byte", "lower", True, 1, "peak resident memory of a process that only serves the policy"
    ),
    Quantity(
        "identity_memory_bytes", "byte", "lower", True, 1, "the same of the same runtime serving an identity policy"
    ),
    Quantity("interpreter_memory_bytes", "byte", "lower", True, 1, "the same of a bare interpreter"),
    Quantity("energy_j", "J", "lower", True, 1, "energy of one decision, net of the idle machine's"),
    Quantity("gross_energy_j", "J", "lower", True, 1, "energy of one decision, the idle machine's included"),
    Quantity("episode_energy_j", "J", "lower", True, 1, "energy of one episode with the environment's own, gross"),
    Quantity("flash_bytes", "byte", "lower", False, 1, "code and constants of the compiled target"),
    Quantity("ram_bytes", "byte", "lower", False, 1, "static data and stack of the compiled target"),
    Quantity("instructions", "1", "lower", False, 1, "instructions of one decision on the target"),
)

QUANTITIES: dict[str, Quantity] = {row.name: row for row in _ROWS}
"""Every quantity by name."""


def quantity(name: str) -> Quantity:
    """The quantity of that name.

    Raises:
        LilliputError: there is none.
    """
    if name not in QUANTITIES:
        raise LilliputError(f"{name!r} is not a quantity; known: {', '.join(QUANTITIES)}")
    return QUANTITIES[name]


@final
@dataclass(frozen=True)
class Conditions:
    """Where and when something was measured; values under unlike conditions are not compared as if they were alike."""

    processor: str = ""
    instruction_set: str = ""
    n_cores: int = 0
    operating_system: str = ""
    python: str = ""
    packages: tuple[tuple[str, str], ...] = ()
    n_threads: int = 1
    started: str = ""


@final
@dataclass(frozen=True)
class Measurement:
    """Raw values of one quantity.

    Attributes:
        quantity: its name in QUANTITIES.
        values: in the quantity's unit, in the order in which they were taken.
        method: how: "measured: ...", "counted: ...", "emulated: ..." or "modelled: ...".
        conditions: where.
    """

    quantity: str
    values: tuple[float, ...]
    method: str
    conditions: Conditions = Conditions()

    def __post_init__(self) -> None:
        quantity(self.quantity)
        object.__setattr__(self, "values", tuple(map(float, self.values)))
        if not self.values or not all(map(math.isfinite, self.values)):
            raise LilliputError(
                f"{self.quantity}: no values, or one that is not finite; what was not measured is Absent"
            )
        if self.method.split(":")[0] not in ("measured", "counted", "emulated", "modelled"):
            raise LilliputError(
                f"{self.quantity}: the method {self.method!r} must begin with measured, counted, emulated or modelled"
            )


@final
@dataclass(frozen=True)
class Absent:
    """A quantity that could not be measured, and why; never a 0."""

    quantity: str
    reason: str

    def __post_init__(self) -> None:
        quantity(self.quantity)


def to_json(measurement: Measurement) -> dict[str, Any]:
    """The measurement as JSON data; floats round-trip."""
    return asdict(measurement)


def shared(value: Any, same: dict[Any, Any]) -> Any:
    """The value, or an equal one that was there before."""
    return same.setdefault((type(value), value), value)


def from_json(data: Sequence[dict[str, Any]], same: dict[Any, Any] | None = None) -> tuple[Measurement, ...]:
    """The measurements that `to_json` wrote of each; those taken under the same conditions share them.

    Args:
        data: of each.
        same: what was read before, which equal parts share; None: nothing was.

    Raises:
        LilliputError: the data is malformed.
    """
    found: list[Measurement] = []
    same = {} if same is None else same
    before: Any = None
    conditions = Conditions()
    try:
        for one in data:
            if one["conditions"] != before:
                before = one["conditions"]
                packages = tuple((str(name), str(version)) for name, version in before["packages"])
                parts = {name: shared(value, same) for name, value in {**before, "packages": packages}.items()}
                conditions = Conditions(**parts)
            name, method = shared(one["quantity"], same), shared(one["method"], same)
            found.append(Measurement(name, tuple(one["values"]), method, conditions))
    except (KeyError, TypeError, ValueError) as error:
        raise LilliputError(f"a measurement in the file is malformed: {str(error)[:80]}") from error
    return tuple(found)
