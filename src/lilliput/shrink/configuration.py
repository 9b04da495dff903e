"""The students that may be tried, and the moves from one to the next, whose effects are learned on the task itself."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, final

from lilliput.policies.affine import packed_nbytes
from lilliput.policies.compress import format_recipe, parse
from lilliput.policies.compress.distill import Distill
from lilliput.policies.compress.finetune import Finetune
from lilliput.policies.compress.step import Step
from lilliput.policies.policy import Policy

InputRange = Literal["per_dimension", "per_tensor", "none"]
Loss = Literal["auto", "l2", "l1", "kl", "cross_entropy", "regret"]


@final
@dataclass(frozen=True)
class Student:
    """A distilled student, and for how many episodes its return is raised afterwards (0: not at all)."""

    hidden: tuple[int, ...]
    weight_bits: int | tuple[int, ...]
    loss: Loss
    input_range: InputRange = "per_dimension"
    disturbance: float = 0.5
    steps: int = 6_000
    evolve: int = 0
    each: int = 1
    per_channel: bool = False
    seen: int | None = None
    """Inputs; None: all."""
    teacher: str | None = None
    """The beginning of the digest of another one than the policy."""

    @property
    def recipe(self) -> str:
        """Its text."""
        steps: tuple[Step, ...] = (
            Distill(
                self.hidden,
                self.steps,
                self.weight_bits,
                "per_channel" if self.per_channel else "per_tensor",
                input_range=self.input_range,
                loss=self.loss,
                disturbance=self.disturbance,
                inputs=self.seen,
                teacher=self.teacher,
            ),
        )
        if self.evolve:
            steps += (Finetune(objective="return", episodes=self.evolve, each=self.each),)
        return format_recipe(steps)

    @property
    def root(self) -> tuple[object, ...]:
        """What its real student depends on: trained once for all that share it."""
        return self.hidden, self.loss, self.disturbance, self.steps, self.seen, self.teacher

    def model_bytes(self, inputs: int, outputs: int, head: int) -> int:
        """Its size, known before it is made."""
        index = 0 if self.seen is None else min(-(-inputs // 8), self.seen * (1 if inputs <= 256 else 2))
        inputs = self.seen or inputs
        sizes = (inputs, *self.hidden, outputs)
        every = self.weight_bits if isinstance(self.weight_bits, tuple) else (self.weight_bits,) * (len(sizes) - 1)
        total = head
        for bits, (fan_in, fan_out) in zip(every, itertools.pairwise(sizes), strict=True):
            total += packed_nbytes(fan_in * fan_out, bits) + 2 * fan_out + (2 * fan_out if self.per_channel else 2)
        ranges = {"per_dimension": 3 * inputs, "per_tensor": 3, "none": 0}[self.input_range]
        return total + index + ranges + 3 * len(self.hidden)

    def n_macs(self, inputs: int, outputs: int) -> int:
        """Multiply-accumulates of a decision."""
        sizes = (self.seen or inputs, *self.hidden, outputs)
        return sum(a * b for a, b in itertools.pairwise(sizes))


def student_of(recipe: str) -> Student | None:
    """The student that a recipe makes; None where it makes something else."""
    match parse(recipe):
        case (Distill() as made,):
            raised = None
        case (Distill() as made, Finetune(objective="return") as raised):
            pass
        case _:
            return None
    if made.weight_bits is None:
        return None
    student = Student(
        made.hidden, made.weight_bits, made.loss, made.input_range, made.disturbance, made.steps,
        per_channel=made.granularity == "per_channel", seen=made.inputs, teacher=made.teacher,
    )  # fmt: skip
    student = student if raised is None else replace(student, evolve=raised.episodes, each=raised.each)
    return student if student.recipe == recipe else None


FEWER_BITS = {8: 6, 6: 5, 5: 4, 4: 3, 3: 2}
MORE_BITS = {fewer: more for more, fewer in FEWER_BITS.items()}
MANY_INPUTS, _VERY_MANY = 32, 64
"""From so many a student may see a part of them, and the first students see a quarter."""
_LONG, MOST_STEPS = 18_000, 162_000
"""From where more steps bring less, and how many are ever made."""

ANOTHER_TEACHER = "another teacher"

EFFECTS: dict[str, tuple[float, float]] = {
    "a little narrower": (-0.015, 0.03),
    "narrower": (-0.04, 0.06),
    "much narrower": (-0.12, 0.12),
    "linear": (-0.2, 0.25),
    "a little wider": (0.015, 0.03),
    "wider": (0.04, 0.06),
    "much wider": (0.09, 0.09),
    "8 to 6 bits": (-0.005, 0.02),
    "6 to 5 bits": (-0.01, 0.03),
    "5 to 4 bits": (-0.03, 0.05),
    "4 to 3 bits": (-0.1, 0.12),
    "3 to 2 bits": (-0.25, 0.25),
    "fewer bits where most are": (-0.02, 0.04),
    "more bits": (0.03, 0.05),
    "a scale an output": (0.02, 0.03),
    "a scale a layer": (-0.02, 0.03),
    "no ranges": (-0.05, 0.08),
    "flatter": (-0.03, 0.07),
    "deeper": (-0.03, 0.07),
    "other loss": (-0.03, 0.07),
    "rougher": (-0.02, 0.05),
    "calmer": (0.0, 0.05),
    "longer": (0.1, 0.06),
    "much longer": (0.16, 0.08),
    "longer still": (0.04, 0.04),
    "wider and longer": (0.14, 0.1),
    "evolved": (0.08, 0.1),
    "fewer inputs": (-0.02, 0.05),
    "far fewer inputs": (-0.08, 0.1),
    "more inputs": (0.02, 0.05),
    "far more inputs": (0.06, 0.08),
    ANOTHER_TEACHER: (-0.02, 0.12),
}
"""What each move does to the retention before the task has told: mean and standard deviation.

Where neither side is better as such the mean is below zero: the student that one starts from was picked for its luck.
"""

_IMPROVING = frozenset(
    {
        "a little wider",
        "wider",
        "much wider",
        "more bits",
        "a scale an output",
        "longer",
        "much longer",
        "longer still",
        "wider and longer",
        "evolved",
        "more inputs",
        "far more inputs",
    }
)
_NOISE = 0.06
_LEAST_SHARE = 0.2
_SHORT, _BEST = 0.15, 1.04
"""A move that improves does what is said of it where so much is short of the best; less where less is short."""


def losses(policy: Policy) -> tuple[Loss, ...]:
    """What students of the policy may learn by, first what they begin with."""
    if policy.is_discrete:
        return ("kl", "regret", "cross_entropy")
    if policy.critic:
        return ("regret", "l2", "l1")
    return ("kl", "l2", "l1") if policy.provenance.action_std else ("l2", "l1")


Teachers = Mapping[str | None, tuple[Loss, ...]]
"""What students may learn by, of each teacher that there is: None is the policy that is made small."""


def starts(ways: Sequence[Loss], inputs: int, teachers: Teachers = MappingProxyType({})) -> tuple[Student, ...]:
    """Where the search begins: a middle size of every teacher, a linear policy, and the other ways to learn, all of
    them briefly; of very many inputs with a quarter, and once with all.
    """
    loss, other = ways[:2]
    seen = inputs // 4 if inputs >= _VERY_MANY else None
    middle = Student((16,), 6, loss, seen=seen)
    return (
        middle,
        *(_taught(middle, teacher, own) for teacher, own in teachers.items() if teacher is not None),
        Student((), 6, loss, seen=seen),
        Student((32,), 6, other),
        Student((24, 24), 6, loss, disturbance=0.0, seen=seen),
    )


def moves(
    student: Student,
    inputs: int,
    outputs: int,
    ways: Sequence[Loss],
    evolutions: tuple[int, int],
    teachers: Teachers = MappingProxyType({}),
) -> Iterator[tuple[str, Student]]:
    """Each neighbour, after the name of the move.

    `ways` are the losses that there are of its teacher; `evolutions`: episodes of a spell of evolution, and of each.
    """
    hidden = student.hidden
    # One number of bits for all layers, or what the others have where one layer has fewer.
    bits = max(student.weight_bits) if isinstance(student.weight_bits, tuple) else student.weight_bits
    if isinstance(student.weight_bits, tuple):
        yield "more bits", replace(student, weight_bits=bits)
    elif hidden and bits >= 4:
        yield "fewer bits where most are", replace(student, weight_bits=_fewer_in_the_largest(student, inputs, outputs))
    if hidden:
        yield "a little narrower", replace(student, hidden=_scaled(hidden, 0.88))
        yield "narrower", replace(student, hidden=_scaled(hidden, 0.72))
        yield "much narrower", replace(student, hidden=_scaled(hidden, 0.45))
        if max(hidden) <= 12:
            yield "linear", replace(student, hidden=(), weight_bits=bits)
        yield "a little wider", replace(student, hidden=_scaled(hidden, 1.14))
        yield "wider", replace(student, hidden=_scaled(hidden, 1.4))
        yield "much wider", replace(student, hidden=_scaled(hidden, 2.0))
        if student.steps < _LONG:
            yield "wider and longer", replace(student, hidden=_scaled(hidden, 1.5), steps=3 * student.steps)
    else:
        yield "wider", replace(student, hidden=(4,))
    if bits in FEWER_BITS:
        yield f"{bits} to {FEWER_BITS[bits]} bits", replace(student, weight_bits=FEWER_BITS[bits])
    if bits in MORE_BITS:
        yield "more bits", replace(student, weight_bits=MORE_BITS[bits])
    if student.per_channel:
        yield "a scale a layer", replace(student, per_channel=False)
    elif hidden:
        yield "a scale an output", replace(student, per_channel=True)
    if student.input_range == "per_dimension" and bits >= 3:
        yield "no ranges", replace(student, input_range="none")
    if len(hidden) == 2:
        yield "flatter", replace(student, hidden=(round(1.6 * hidden[0]),), weight_bits=bits)
    if len(hidden) == 1 and hidden[0] >= 6:
        yield "deeper", replace(student, hidden=(round(hidden[0] / 1.6),) * 2, weight_bits=bits)
    for loss in ways:
        if loss != student.loss:
            yield "other loss", replace(student, loss=loss)
    if student.disturbance < 1.5:
        yield "rougher", replace(student, disturbance=1.5)
    if student.disturbance > 0:
        yield "calmer", replace(student, disturbance=0.0)
    if student.steps < _LONG:
        yield "longer", replace(student, steps=3 * student.steps)
        yield "much longer", replace(student, steps=6 * student.steps)
    elif 3 * student.steps <= MOST_STEPS:
        yield "longer still", replace(student, steps=3 * student.steps)
    if inputs >= MANY_INPUTS:
        for name, factor in (("fewer", 0.7), ("far fewer", 0.4), ("more", 1.4), ("far more", 2.5)):
            seen = round(factor * (student.seen or inputs))
            if seen >= 4 and (student.seen is not None or factor < 1):
                yield f"{name} inputs", replace(student, seen=seen if seen < inputs else None)
    for teacher, own in teachers.items():
        if teacher != student.teacher:
            yield f"{ANOTHER_TEACHER}: {teacher}", _taught(student, teacher, own)
    if not student.evolve:
        yield "evolved", replace(student, evolve=evolutions[0], each=evolutions[1])


def _taught(student: Student, teacher: str | None, ways: Sequence[Loss]) -> Student:
    """The same student of another teacher, by the loss that it had where there is that."""
    return replace(student, teacher=teacher, loss=student.loss if student.loss in ways else ways[0])


def _fewer_in_the_largest(student: Student, inputs: int, outputs: int) -> tuple[int, ...]:
    """One bit fewer in the layer of the most weights."""
    assert isinstance(student.weight_bits, int)
    weights = [a * b for a, b in itertools.pairwise((student.seen or inputs, *student.hidden, outputs))]
    largest = weights.index(max(weights))
    return tuple(student.weight_bits - (index == largest) for index in range(len(weights)))


def _scaled(hidden: tuple[int, ...], factor: float) -> tuple[int, ...]:
    scaled = tuple(max(2, round(size * factor)) for size in hidden)
    if scaled == hidden:
        scaled = tuple(max(1, size + (1 if factor > 1 else -1)) for size in hidden)
    return scaled


@final
class Effects:
    """What moves do to the retention on this task: the priors, and what was seen."""

    def __init__(self) -> None:
        self._beliefs = dict(EFFECTS)

    def predict(self, move: str, before: float) -> tuple[float, float]:
        """Mean and standard deviation of the change, for a student that kept `before`."""
        mean, spread = self._belief(move)
        return mean * _share(move, before), spread

    def learn(self, move: str, before: float, after: float) -> None:
        """Take up one noisy observation in a normal belief."""
        mean, spread = self._belief(move)
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

    def _belief(self, move: str) -> tuple[float, float]:
        """One for each teacher; of all other moves there is one from the beginning."""
        name = ANOTHER_TEACHER if move.startswith(ANOTHER_TEACHER) else move
        return self._beliefs.get(move, EFFECTS[name])


def _share(move: str, before: float) -> float:
    return min(1.0, max(0.0, _BEST - before) / _SHORT) if move in _IMPROVING else 1.0


def chance(mean: float, spread: float, bar: float) -> float:
    """That a normal number is above the bar."""
    return 0.5 * math.erfc((bar - mean) / (math.sqrt(2) * max(spread, 1e-6)))
