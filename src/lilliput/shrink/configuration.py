"""The students that a search may try, and those that it begins with."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, final

from lilliput.policies.affine import packed_nbytes
from lilliput.policies.compress import format_recipe, parse
from lilliput.policies.compress.distill import Distill
from lilliput.policies.compress.finetune import Finetune
from lilliput.policies.compress.step import Step
from lilliput.policies.learner import Checkpoint

InputRange = Literal["per_dimension", "per_tensor", "none"]
Loss = Literal["auto", "l2", "l1", "kl", "cross_entropy", "regret"]


_SEQUENCES = 5
"""A step over sequences takes so many times as long as one over states."""


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
                history=self.history,
                memory=self.memory,
            ),
        )
        if self.evolve:
            steps += (Finetune(objective="return", episodes=self.evolve, each=self.each),)
        return format_recipe(steps)

    @property
    def root(self) -> tuple[object, ...]:
        """What its real student depends on: trained once for all that share it."""
        return self.hidden, self.loss, self.disturbance, self.steps, self.seen, self.teacher, self.history, self.memory

    @property
    def work(self) -> int:
        """Steps of its training, in those of a student without a memory."""
        return self.steps * (1 if self.memory is None else _SEQUENCES)

    def products(self, inputs: int, outputs: int) -> tuple[tuple[int, int], ...]:
        """Inputs and outputs of each of its matrices, in order."""
        first = (self.seen or inputs) * (self.history or 1)
        units = self.memory
        gates = () if units is None else ((first, 3 * units), (units, 3 * units))
        return (*gates, *itertools.pairwise((units or first, *self.hidden, outputs)))

    def model_bytes(self, inputs: int, outputs: int, head: int) -> int:
        """Its size, known before it is made."""
        index = 0 if self.seen is None else min(-(-inputs // 8), self.seen * (1 if inputs <= 256 else 2))
        sizes = self.products(inputs, outputs)
        every = self.weight_bits if isinstance(self.weight_bits, tuple) else (self.weight_bits,) * len(sizes)
        total = head
        for bits, (fan_in, fan_out) in zip(every, sizes, strict=True):
            total += packed_nbytes(fan_in * fan_out, bits) + 2 * fan_out + (2 * fan_out if self.per_channel else 2)
        ranges = {"per_dimension": 3 * sizes[0][0], "per_tensor": 3, "none": 0}[self.input_range]
        return total + index + ranges + 3 * (len(sizes) - 1)

    def n_macs(self, inputs: int, outputs: int) -> int:
        """Multiply-accumulates of a decision."""
        return sum(a * b for a, b in self.products(inputs, outputs))


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
        history=made.history, memory=made.memory,
    )  # fmt: skip
    student = student if raised is None else replace(student, evolve=raised.episodes, each=raised.each)
    return student if student.recipe == recipe else None


MANY_INPUTS, _VERY_MANY = 32, 64
"""From so many a student may see a part of them, and the first students see a quarter."""


def losses(teacher: Checkpoint) -> tuple[Loss, ...]:
    """What students of the policy may learn by, first what they begin with."""
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


def of_teacher(student: Student, teacher: str | None, ways: Sequence[Loss]) -> Student:
    """The same student of another teacher, by the loss that it had where there is that."""
    return replace(student, teacher=teacher, loss=student.loss if student.loss in ways else ways[0])
