"""The moves from a student to its neighbours, and what each does to the return, as it is learned on the task itself."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import final

from lilliput.shrink.configuration import LONG, MANY_INPUTS, Loss, Sight, Student, Teachers, of_teacher


@final
@dataclass(frozen=True)
class Move:
    """A kind of change to a student, and what it does to the retention before the task has told.

    Where neither side is better as such the mean is below zero: the student that one starts from was picked for its
    luck.

    Attributes:
        name: in words, unlike all others.
        mean, deviation: of the change in retention.
        improves: it does what is said of it where much is short of the best, and less where less is short.
    """

    name: str
    mean: float
    deviation: float
    improves: bool = False


A_LITTLE_NARROWER = Move("a little narrower", -0.015, 0.03)
NARROWER = Move("narrower", -0.04, 0.06)
MUCH_NARROWER = Move("much narrower", -0.12, 0.12)
LINEAR = Move("linear", -0.2, 0.25)
A_LITTLE_WIDER = Move("a little wider", 0.015, 0.03, improves=True)
WIDER = Move("wider", 0.04, 0.06, improves=True)
MUCH_WIDER = Move("much wider", 0.09, 0.09, improves=True)
FEWER_BITS_WHERE_MOST_ARE = Move("fewer bits where most are", -0.02, 0.04)
MORE_BITS = Move("more bits", 0.03, 0.05, improves=True)
A_SCALE_AN_OUTPUT = Move("a scale an output", 0.02, 0.03, improves=True)
A_SCALE_A_LAYER = Move("a scale a layer", -0.02, 0.03)
NO_RANGES = Move("no ranges", -0.05, 0.08)
FLATTER = Move("flatter", -0.08, 0.08)
DEEPER = Move("deeper", 0.0, 0.07)
OTHER_LOSS = Move("other loss", -0.03, 0.07)
ROUGHER = Move("rougher", -0.02, 0.05)
CALMER = Move("calmer", 0.0, 0.05)
LONGER = Move("longer", 0.1, 0.06, improves=True)
MUCH_LONGER = Move("much longer", 0.16, 0.08, improves=True)
LONGER_STILL = Move("longer still", 0.04, 0.04, improves=True)
WIDER_AND_LONGER = Move("wider and longer", 0.14, 0.1, improves=True)
EVOLVED = Move("evolved", 0.08, 0.1, improves=True)
FEWER_INPUTS = Move("fewer inputs", -0.02, 0.05)
FAR_FEWER_INPUTS = Move("far fewer inputs", -0.08, 0.1)
MORE_INPUTS = Move("more inputs", 0.02, 0.05, improves=True)
FAR_MORE_INPUTS = Move("far more inputs", 0.06, 0.08, improves=True)
ANOTHER_TEACHER = Move("another teacher", -0.02, 0.12)
LONGER_HISTORY = Move("more observations at once", 0.03, 0.08, improves=True)
SHORTER_HISTORY = Move("fewer observations at once", -0.03, 0.08)
A_MEMORY = Move("a memory", 0.05, 0.15, improves=True)
NO_MEMORY = Move("no memory", -0.05, 0.15)
MORE_MEMORY = Move("more memory", 0.04, 0.06, improves=True)
LESS_MEMORY = Move("less memory", -0.04, 0.06)
TO_FEWER_BITS = {
    8: Move("8 to 6 bits", -0.005, 0.02),
    6: Move("6 to 5 bits", -0.01, 0.03),
    5: Move("5 to 4 bits", -0.03, 0.05),
    4: Move("4 to 3 bits", -0.1, 0.12),
    3: Move("3 to 2 bits", -0.25, 0.25),
}
"""By the bits that a weight has before."""

_BELOW = {8: 6, 6: 5, 5: 4, 4: 3, 3: 2}
_ABOVE = {fewer: more for more, fewer in _BELOW.items()}
"""The next fewer and the next more bits of a weight."""

MOST_STEPS = 162_000
"""How many are ever made."""

_LONGEST = 8
"""Observations at once."""

_NOISE = 0.06
_LEAST_SHARE = 0.2
_SHORT, _BEST = 0.15, 1.04
"""A move that improves does what is said of it where so much is short of the best; less where less is short."""


def moves(
    student: Student,
    sight: Sight,
    outputs: int,
    ways: Sequence[Loss],
    evolutions: tuple[int, int],
    teachers: Teachers = MappingProxyType({}),
    *,
    remembers: bool = False,
) -> Iterator[tuple[Move, Student]]:
    """Each neighbour, after the move that leads to it; other memories where the policy `remembers`.

    `ways` are the losses that there are of its teacher; `evolutions`: episodes of a spell of evolution, and of each.
    """
    hidden = student.hidden
    # One number of bits for all layers, or what the others have where one layer has fewer.
    bits = max(student.weight_bits) if isinstance(student.weight_bits, tuple) else student.weight_bits
    if remembers:
        yield from _memories(student)
    if isinstance(student.weight_bits, tuple):
        yield MORE_BITS, replace(student, weight_bits=bits)
    elif len(student.weights(sight, outputs)) > 1 and bits >= 4 and student.memory is None:
        yield FEWER_BITS_WHERE_MOST_ARE, replace(student, weight_bits=_fewer_in_the_largest(student, sight, outputs))
    if hidden or student.channels:
        for move, factor in ((A_LITTLE_NARROWER, 0.88), (NARROWER, 0.72), (MUCH_NARROWER, 0.45)):
            yield move, _resized(student, factor)
        if hidden and max(hidden) <= 12:
            yield LINEAR, replace(student, hidden=(), weight_bits=bits)
        for move, factor in ((A_LITTLE_WIDER, 1.14), (WIDER, 1.4), (MUCH_WIDER, 2.0)):
            yield move, _resized(student, factor)
        if student.steps < LONG:
            yield WIDER_AND_LONGER, replace(_resized(student, 1.5), steps=3 * student.steps)
    else:
        yield WIDER, replace(student, hidden=(4,))
    if bits in _BELOW:
        yield TO_FEWER_BITS[bits], replace(student, weight_bits=_BELOW[bits])
    if bits in _ABOVE:
        yield MORE_BITS, replace(student, weight_bits=_ABOVE[bits])
    if not student.channels:
        yield from _vector_moves(student, bits)
    for loss in ways:
        if loss != student.loss:
            yield OTHER_LOSS, replace(student, loss=loss)
    if student.disturbance < 1.5:
        yield ROUGHER, replace(student, disturbance=1.5)
    if student.disturbance > 0:
        yield CALMER, replace(student, disturbance=0.0)
    if student.steps < LONG:
        yield LONGER, replace(student, steps=3 * student.steps)
        yield MUCH_LONGER, replace(student, steps=6 * student.steps)
    elif 3 * student.steps <= MOST_STEPS:
        yield LONGER_STILL, replace(student, steps=3 * student.steps)
    inputs = sight.inputs
    if inputs >= MANY_INPUTS and not student.channels:
        for move, factor in ((FEWER_INPUTS, 0.7), (FAR_FEWER_INPUTS, 0.4), (MORE_INPUTS, 1.4), (FAR_MORE_INPUTS, 2.5)):
            seen = round(factor * (student.seen or inputs))
            if seen >= 4 and (student.seen is not None or factor < 1):
                yield move, replace(student, seen=seen if seen < inputs else None)
    for teacher, own in teachers.items():
        if teacher != student.teacher:
            yield to_teacher(teacher), of_teacher(student, teacher, own)
    if not student.evolve and student.history is None and student.memory is None and not student.channels:
        yield EVOLVED, replace(student, evolve=evolutions[0], each=evolutions[1])


def _memories(student: Student) -> Iterator[tuple[Move, Student]]:
    """The neighbours that see or keep more or less of the past."""
    plain = replace(student, evolve=0, each=1)
    if student.memory is not None:
        yield MORE_MEMORY, replace(plain, memory=max(student.memory + 1, round(1.4 * student.memory)))
        if student.memory > 2:
            yield LESS_MEMORY, replace(plain, memory=round(0.72 * student.memory))
        yield NO_MEMORY, replace(plain, memory=None, hidden=student.hidden or (student.memory,))
        return
    history = student.history or 1
    if history < _LONGEST:
        yield LONGER_HISTORY, replace(plain, history=history + 1)
    if student.history is not None:
        yield SHORTER_HISTORY, replace(plain, history=history - 1 if history > 2 else None)
    elif student.hidden and isinstance(student.weight_bits, int) and student.input_range == "per_dimension":
        yield (
            A_MEMORY,
            replace(
                plain, memory=max(2, student.hidden[0] // 2), hidden=student.hidden[1:], steps=min(student.steps, 3_000)
            ),
        )


def _vector_moves(student: Student, bits: int) -> Iterator[tuple[Move, Student]]:
    """Those that only students of vectors have."""
    hidden = student.hidden
    if student.per_channel:
        yield A_SCALE_A_LAYER, replace(student, per_channel=False)
    elif hidden:
        yield A_SCALE_AN_OUTPUT, replace(student, per_channel=True)
    if student.input_range == "per_dimension" and bits >= 3 and student.memory is None:
        yield NO_RANGES, replace(student, input_range="none")
    if len(hidden) == 2:
        yield FLATTER, replace(student, hidden=(round(1.6 * hidden[0]),), weight_bits=bits)
    if len(hidden) == 1 and hidden[0] >= 6:
        yield DEEPER, replace(student, hidden=(round(hidden[0] / 1.6),) * 2, weight_bits=bits)


def to_teacher(teacher: str | None) -> Move:
    """The move to that teacher, one of its own: what one brings says nothing of another."""
    return replace(ANOTHER_TEACHER, name=f"{ANOTHER_TEACHER.name}: {teacher}")


def _fewer_in_the_largest(student: Student, sight: Sight, outputs: int) -> tuple[int, ...]:
    """One bit fewer in the layer of the most weights."""
    assert isinstance(student.weight_bits, int)
    weights = student.weights(sight, outputs)
    largest = weights.index(max(weights))
    return tuple(student.weight_bits - (index == largest) for index in range(len(weights)))


def _resized(student: Student, factor: float) -> Student:
    return replace(student, hidden=_scaled(student.hidden, factor), channels=_scaled(student.channels, factor))


def _scaled(hidden: tuple[int, ...], factor: float) -> tuple[int, ...]:
    scaled = tuple(max(2, round(size * factor)) for size in hidden)
    if scaled == hidden:
        scaled = tuple(max(1, size + (1 if factor > 1 else -1)) for size in hidden)
    return scaled


@final
class Effects:
    """What moves do to the retention on this task: the priors, and what was seen."""

    def __init__(self) -> None:
        self._beliefs: dict[Move, tuple[float, float]] = {}

    def predict(self, move: Move, before: float) -> tuple[float, float]:
        """Mean and standard deviation of the change, for a student that kept `before`."""
        mean, spread = self._beliefs.get(move, (move.mean, move.deviation))
        return mean * _share(move, before), spread

    def learn(self, move: Move, before: float, after: float) -> None:
        """Take up one noisy observation in a normal belief."""
        mean, spread = self._beliefs.get(move, (move.mean, move.deviation))
        share = _share(move, before)
        if share < _LEAST_SHARE:
            return
        noise = _NOISE / share
        gain = spread**2 / (spread**2 + noise**2)
        # What differs from student to student stays uncertain however often a move was seen.
        self._beliefs[move] = (
            mean + gain * ((after - before) / share - mean),
            max(0.02, math.sqrt(1 - gain) * spread),
        )


def _share(move: Move, before: float) -> float:
    return min(1.0, max(0.0, _BEST - before) / _SHORT) if move.improves else 1.0


def chance(mean: float, spread: float, bar: float) -> float:
    """That a normal number is above the bar."""
    return 0.5 * math.erfc((bar - mean) / (math.sqrt(2) * max(spread, 1e-6)))


def gain(value: float, reached: Sequence[tuple[float, float]]) -> float:
    """By how much, in its logarithm, the smallest that is confirmed is expected to shrink if one of this value is.

    Args:
        value: of what may be tried.
        reached: logarithms of values, ascending, each with the chance that something no larger is confirmed.
    """
    at, missing, total = math.log(value), 1.0, 0.0
    for end, sure in reached:
        if end > at:
            total += missing * (end - at)
            at = end
        missing = 1 - sure
    return total
