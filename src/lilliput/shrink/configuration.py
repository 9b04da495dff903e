"""The students that a search may try, and those that it begins with."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, final

from lilliput.policies import layers, spaces
from lilliput.policies.affine import packed_nbytes
from lilliput.policies.compress import format_recipe, parse
from lilliput.policies.compress.distill import Distill
from lilliput.policies.compress.distill_images import DistillImages
from lilliput.policies.compress.distill_play import can_be_taught
from lilliput.policies.compress.finetune import Finetune
from lilliput.policies.compress.step import Step
from lilliput.policies.learner import Checkpoint
from lilliput.policies.policy import Policy

InputRange = Literal["per_dimension", "per_tensor", "none"]
Loss = Literal["auto", "l2", "l1", "kl", "cross_entropy", "regret"]


_SEQUENCES = 5
"""A step over sequences takes so many times as long as one over states."""
LONG = 18_000
"""Steps from where more bring less."""
_HOLDS, _WIDEST = 3.2, 96
"""-log of what a student that holds is short of; units of a layer of the widest that a search begins with."""
_LEARNING = 3_000
"""Multiply-accumulates of a student whose four restarts take as long to learn in a step as its states to be played."""


@final
@dataclass(frozen=True)
class Sight:
    """What students see: so many numbers or, of images, what a convolution of so many channels makes of them.

    Attributes:
        inputs: numbers of an observation.
        windows: of each convolution how many numbers of a channel a window has, and how many places it stands at.
        channels: of the image.
    """

    inputs: int
    windows: tuple[tuple[int, int], ...] = ()
    channels: int = 0

    @staticmethod
    def of(policy: Policy) -> "Sight":
        """The policy's."""
        shape = spaces.input_shape(policy.observation_space)
        windows: list[tuple[int, int]] = []
        now = shape
        for layer in policy.layers:
            now = layers.output_shape(layer, now)
            if isinstance(layer, layers.Conv2d | layers.QuantizedConv2d):
                windows.append((math.prod(layer.weight.shape[2:]), math.prod(now[1:])))
        return Sight(math.prod(shape), tuple(windows), shape[0] if windows else 0)


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
    history: int | None = None
    """Observations that it sees at once; None: the last alone."""
    memory: int | None = None
    """Units of a GRU in front of the hidden layers; None: it does not remember."""
    channels: tuple[int, ...] = ()
    """Of the convolutions of one that sees images."""
    restarts: int = 4
    """Trained at once, of which the best is kept; wide ones differ little and take long."""

    @property
    def recipe(self) -> str:
        """Its text."""
        if self.channels:
            bits, disturbance = self.weight_bits, self.disturbance
            made = DistillImages(
                self.channels, self.hidden, self.steps, bits, disturbance=disturbance, teacher=self.teacher
            )
            return format_recipe((made,))
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
                history=self.history,
                memory=self.memory,
                restarts=self.restarts,
            ),
        )
        if self.evolve:
            steps += (Finetune(objective="return", episodes=self.evolve, each=self.each),)
        return format_recipe(steps)

    @property
    def root(self) -> tuple[object, ...]:
        """What its real student depends on: trained once for all that share it."""
        return (
            self.hidden, self.loss, self.disturbance, self.steps, self.seen, self.teacher, self.history, self.memory,
            self.channels, self.restarts,
        )  # fmt: skip

    def work(self, sight: Sight, outputs: int) -> float:
        """Steps of its training, in those of the smallest student without a memory."""
        if self.memory is not None:
            return float(self.steps * _SEQUENCES)
        learning = 0.0 if self.channels else self.n_macs(sight, outputs) / _LEARNING * self.restarts / 4
        return self.steps * (1 + learning)

    def model_bytes(self, sight: Sight, outputs: int, head: int) -> int:
        """Its size, known before it is made."""
        inputs = sight.inputs
        index = 0 if self.seen is None else min(-(-inputs // 8), self.seen * (1 if inputs <= 256 else 2))
        linear = self._linear(sight, outputs)
        every = self.weight_bits if isinstance(self.weight_bits, tuple) else (self.weight_bits,) * len(linear)
        total = head
        # Students of images have real numbers of four bytes, and no range for each input.
        real = 4 if self.channels else 2
        for bits, (weights, fan_out, _) in zip(every, linear, strict=True):
            total += packed_nbytes(weights, bits) + real * fan_out + (2 * fan_out if self.per_channel else real)
        if self.channels:
            return total + 5 * len(linear)
        first = (self.seen or inputs) * (self.history or 1)
        ranges = {"per_dimension": 3 * first, "per_tensor": 3, "none": 0}[self.input_range]
        return total + index + ranges + 3 * (len(linear) - 1)

    def n_macs(self, sight: Sight, outputs: int) -> int:
        """Multiply-accumulates of a decision."""
        return sum(macs for _, _, macs in self._linear(sight, outputs))

    def weights(self, sight: Sight, outputs: int) -> list[int]:
        """Of each layer."""
        return [weights for weights, _, _ in self._linear(sight, outputs)]

    def _linear(self, sight: Sight, outputs: int) -> list[tuple[int, int, int]]:
        """Of each layer the weights, the outputs and the multiply-accumulates."""
        found: list[tuple[int, int, int]] = []
        before, places = sight.channels, 1
        for channels, (window, places) in zip(self.channels, sight.windows, strict=False):
            found.append((window * before * channels, channels, window * before * channels * places))
            before = channels
        first = before * places if self.channels else (self.seen or sight.inputs) * (self.history or 1)
        units = self.memory
        gates = () if units is None else ((first, 3 * units), (units, 3 * units))
        sizes = (*gates, *itertools.pairwise((units or first, *self.hidden, outputs)))
        return [*found, *((a * b, b, a * b) for a, b in sizes)]


def student_of(recipe: str) -> Student | None:
    """The student that a recipe makes; None where it makes something else."""
    match parse(recipe):
        case (DistillImages(weight_bits=int() | tuple() as bits) as seen,):
            student = Student(
                seen.hidden, bits, "kl", disturbance=seen.disturbance, steps=seen.steps, teacher=seen.teacher,
                channels=seen.channels,
            )  # fmt: skip
            return student if student.recipe == recipe else None
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
        history=made.history, memory=made.memory, restarts=made.restarts,
    )  # fmt: skip
    student = student if raised is None else replace(student, evolve=raised.episodes, each=raised.each)
    return student if student.recipe == recipe else None


MANY_INPUTS, _VERY_MANY = 32, 64
"""From so many a student may see a part of them, and the first students see a quarter."""


def losses(teacher: Checkpoint) -> tuple[Loss, ...]:
    """What students of the policy may learn by, first what they begin with."""
    if can_be_taught(teacher.policy):
        return ("kl",)
    if teacher.policy.is_discrete:
        return ("kl", "regret", "cross_entropy")
    if teacher.learner.critic:
        return ("regret", "l2", "l1")
    return ("kl", "l2", "l1") if teacher.learner.action_std else ("l2", "l1")


Teachers = Mapping[str | None, tuple[Loss, ...]]
"""What students may learn by, of each teacher that there is: None is the policy that is made small."""


def starts(
    ways: Sequence[Loss], inputs: int, teachers: Teachers = MappingProxyType({}), *, remembers: bool = False
) -> tuple[Student, ...]:
    """Where the search begins: a middle size of every teacher, a linear policy, and the other ways to learn, all of
    them briefly; of very many inputs with a quarter, and once with all. Where the policy remembers also students that
    see two observations at once, and that remember themselves.
    """
    loss, other = ways[:2]
    seen = inputs // 4 if inputs >= _VERY_MANY else None
    middle = Student((16,), 6, loss, seen=seen)
    return (
        middle,
        *(of_teacher(middle, teacher, own) for teacher, own in teachers.items() if teacher is not None),
        *((replace(middle, history=2), Student((), 6, loss, seen=seen, memory=12, steps=3_000)) if remembers else ()),
        Student((), 6, loss, seen=seen),
        Student((32,), 6, other),
        Student((24, 24), 6, loss, disturbance=0.0, seen=seen),
    )


EASY, DELICATE = 0.9, 0.6
"""What a middle student has to keep so that others of its size are worth a try; and of a delicate policy it keeps less
than that: what holds is wide and trained for long.
"""
_WIDE = 48
"""Units of two layers from where restarts differ little and take long: two do."""


def start_after(kept: float, middle: Student, sight: Sight, outputs: int) -> Student:
    """Where the search goes on when the first student kept less than is easy: two layers, trained for longer.

    With its size c a student keeps about 1 - exp(-(c / c0)^0.75): 378 bytes of SAC on HalfCheetah keep 65 %
    and 1,017 hold, of a delicate one (48 %) some 2,500 do. Three times the steps are worth 1.6 times the size.
    """
    missing = (_HOLDS / -math.log1p(-min(max(kept, 0.05), EASY))) ** (1 / 0.75) / 1.6
    inputs = (middle.seen or sight.inputs) * (middle.history or 1)
    weights = max(1.0, missing) * sum(middle.weights(sight, outputs))
    # w * w + (inputs + outputs) * w weights.
    around = (inputs + outputs) / 2
    width = min(_WIDEST, max(8, round(math.sqrt(around * around + weights) - around)))
    return replace(
        middle, hidden=(width, width), steps=LONG, disturbance=0.0, restarts=2 if width >= _WIDE else middle.restarts
    )


def image_starts(sight: Sight, teachers: Teachers = MappingProxyType({})) -> tuple[Student, ...]:
    """Where the search begins of images: of every teacher one that is large enough to hold, and a larger one: there is
    time for few, and what they keep says where to go on.
    """
    n = len(sight.windows)
    first = Student((64,), 4, "kl", steps=4_000, channels=(16, *(24,) * (n - 1)))
    return (
        first,
        *(replace(first, teacher=teacher) for teacher in teachers if teacher is not None),
        replace(first, hidden=(56,), channels=(16, *(32,) * (n - 1))),
    )


def of_teacher(student: Student, teacher: str | None, ways: Sequence[Loss]) -> Student:
    """The same student of another teacher, by the loss that it had where there is that."""
    return replace(student, teacher=teacher, loss=student.loss if student.loss in ways else ways[0])
