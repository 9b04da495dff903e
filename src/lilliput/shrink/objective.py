"""What is made small, and the limits that it has to keep to."""

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from lilliput.files import Format
from lilliput.measure import ON_TARGETS, latency
from lilliput.measure.target import check_tools, count, measurements, target_named
from lilliput.measurement import Measurement
from lilliput.policies.artifact import Artifact, golden_observations, read_artifact
from lilliput.policies.export import c, export
from lilliput.policies.policy import Policy
from lilliput.shrink.request import Request

_ROUNDS, _SAMPLES = 10, 20
"""Of a trial's inference time; what is confirmed is measured longer, alone on the machine."""


_CODE = ("flash_bytes", "ram_bytes")
"""What policies of one shape have in common."""
SHAPE = Format("shape", 1, {})
"""Of the file of what a shape takes. 1: quantity, value and method of each measurement."""


def check_target(request: Request) -> None:
    """Check that what the objective and the limits are about can be counted here.

    Raises:
        MissingDependency: the target's compiler or emulator is not installed.
    """
    if _on_target(request):
        check_tools(target_named(request.target))


def counted(policy: Policy) -> tuple[Measurement, ...]:
    """What needs no artifact."""
    method = "counted: on the policy"
    return (
        Measurement("model_bytes", (float(policy.model_bytes),), method),
        Measurement("n_macs", (float(policy.n_macs),), method),
    )


def measured(policy: Policy, request: Request, kept: Path) -> tuple[Measurement, ...]:
    """What the objective and the limits need to know of the policy's artifact; nothing where they need none.

    Args:
        policy: what is measured.
        request: which says what is wanted.
        kept: a folder for what policies of one shape take: they are compiled once.

    Raises:
        MissingDependency: the target's compiler or emulator is not installed.
        LilliputError: the artifact cannot be built or opened.
    """
    taken: list[Measurement] = []
    if _wants_time(request):
        with _exported(policy, request) as artifact:
            observations = golden_observations(artifact)
            taken += latency([artifact.folder], observations, rounds=_ROUNDS, samples=_SAMPLES)
    wanted = _on_target(request)
    if wanted == _CODE:
        taken += _of_the_shape(policy, request, kept)
    elif wanted:
        taken += _on_the_target(policy, request)
    return tuple(taken)


def _of_the_shape(policy: Policy, request: Request, kept: Path) -> list[Measurement]:
    """Flash and RAM of a policy, or of one that was compiled before and differs in its numbers alone."""
    digest = hashlib.sha256(f"{request.target}\n{c.shape(policy)}".encode()).hexdigest()[:24]
    path = kept / f"shape-{digest}.json"
    if path.exists():
        found = SHAPE.read(path)["measurements"]
        return [Measurement(name, (value,), f"{method} (of a policy of this shape)") for name, value, method in found]
    counts = [one for one in _on_the_target(policy, request) if one.quantity in _CODE]
    path.parent.mkdir(parents=True, exist_ok=True)
    SHAPE.write(path, {"measurements": [(one.quantity, one.values[0], one.method) for one in counts]})
    return counts


def _on_the_target(policy: Policy, request: Request) -> tuple[Measurement, ...]:
    with _exported(policy, request) as artifact:
        return measurements(count(artifact, target_named(request.target)))


def names(request: Request) -> tuple[str, ...]:
    """The quantities that `measured` measures."""
    time = ("latency_s",) if _wants_time(request) else ()
    return (*time, *_on_target(request))


def value(request: Request, taken: Sequence[Measurement]) -> float:
    """What is made small; infinite where it was not measured."""
    return _figure(taken, request.objective)


def broken(request: Request, taken: Sequence[Measurement]) -> str:
    """Which limits are broken and by how much; empty where all that was measured keeps to its limit."""
    over = (
        f"{name} is {written(figure)}, {written(figure - limit)} over the limit of {written(limit)}"
        for name, limit in limits(request).items()
        if limit < (figure := _figure(taken, name)) < np.inf
    )
    return "; ".join(over)


def written(figure: float) -> str:
    """A number for people."""
    return f"{figure:,.0f}" if figure == round(figure) else f"{figure:.3g}"


def limits(request: Request) -> dict[str, float]:
    """The limits that were given, by quantity."""
    every = {"latency_s": request.deadline_s, "flash_bytes": request.max_flash, "ram_bytes": request.max_ram}
    return {name: float(limit) for name, limit in every.items() if limit is not None}


def compared(request: Request, before: Path, after: Path) -> tuple[tuple[str, float, float], ...]:
    """Quantity, its value for the artifact before and for the one after: all that objective and limits are about."""
    artifacts = [read_artifact(before), read_artifact(after)]
    figures: list[tuple[str, float, float]] = []
    if _wants_time(request):
        one, other = latency([artifact.folder for artifact in artifacts], golden_observations(artifacts[1]))
        figures.append(("latency_s", float(np.median(one.values)), float(np.median(other.values))))
    if _on_target(request):
        each = [measurements(count(artifact, target_named(request.target))) for artifact in artifacts]
        figures += [(a.quantity, a.values[0], b.values[0]) for a, b in zip(*each, strict=True)]
    return tuple(figures)


def _wants_time(request: Request) -> bool:
    return request.objective == "latency_s" or request.deadline_s is not None


def _on_target(request: Request) -> tuple[str, ...]:
    """The quantities of the target that are wanted of each trial; a limit is held to the byte."""
    if request.objective == "instructions" or request.max_flash is not None or request.max_ram is not None:
        return ON_TARGETS
    return _CODE if request.objective in _CODE else ()


def _figure(taken: Sequence[Measurement], name: str) -> float:
    return next((float(np.median(m.values)) for m in taken if m.quantity == name), np.inf)


@contextlib.contextmanager
def _exported(policy: Policy, request: Request) -> Iterator[Artifact]:
    with tempfile.TemporaryDirectory() as scratch:
        yield export(policy, request.format, Path(scratch, "artifact"))
