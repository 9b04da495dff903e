"""What a search may try: the students of a policy and of its other teachers, those it begins with, and their sizes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import assert_never, final

from lilliput.policies import last_action, layers, spaces
from lilliput.policies.compress.context import TEACHER_DIGITS
from lilliput.policies.compress.distill_play import can_be_taught, sees_a_vector, small_head, split_head
from lilliput.policies.constants import constants
from lilliput.policies.learner import Checkpoint
from lilliput.policies.policy import Policy
from lilliput.shrink.configuration import (
    EASY,
    Sight,
    Student,
    Teachers,
    image_starts,
    losses,
    start_after,
    starts,
)
from lilliput.shrink.move import Move, moves

_EVOLVABLE = 500
"""Weights that some hundreds of episodes can still move towards a higher return."""


@final
@dataclass(frozen=True, eq=False)
class StudentSpace:
    """The students that there may be, none where nothing is to be trained.

    Attributes:
        images: the policy sees images through convolutions, and so do its students.
        board: what it sees else has several axes; its students see the numbers in a row.
        trainable: whether students are made at all.
        sight: what they see.
        outputs: numbers that they give.
        teachers: what they may learn by, of each.
        heads: bytes of what shapes the action of the students of each teacher.
        remembers: one of the teachers has a memory: students may have one too.
    """

    images: bool
    board: bool
    trainable: bool
    sight: Sight
    outputs: int
    teachers: Teachers
    heads: Mapping[str | None, int]
    remembers: bool

    @staticmethod
    def of(teacher: Checkpoint, others: Sequence[Checkpoint], *, train: bool) -> "StudentSpace":
        """That of what is made small, and of others that play the same; empty without training."""
        policy = teacher.policy
        images = can_be_taught(policy)
        trainable = train and (images or sees_a_vector(policy))
        named = {None: teacher, **{one.digest[:TEACHER_DIGITS]: one for one in others}}
        return StudentSpace(
            images,
            not images and len(spaces.input_shape(policy.observation_space)) > 1,
            trainable,
            Sight.of(policy),
            _outputs(policy) if trainable else 0,
            {name: losses(one) for name, one in named.items()},
            {name: _head_bytes(one.policy) for name, one in named.items()} if trainable else {},
            any(last_action.apart(one.policy)[1].has_memory for one in named.values()),
        )

    def starts(self) -> tuple[Student, ...]:
        """The first students, the most promising first."""
        if not self.trainable:
            return ()
        if self.images:
            return image_starts(self.sight, self.teachers)
        every = starts(self.teachers[None], self.sight.inputs, self.teachers, remembers=self.remembers)
        if not self.board:
            return every
        # Its squares hold numbers of one kind: one range serves all of them, at three bytes in the place of three each.
        return tuple(one if one.memory is not None else replace(one, input_range="per_tensor") for one in every)

    def after(self, first: Student, kept: float) -> tuple[Student, ...]:
        """What is tried next where the first student kept so little of the return; none where that is usual."""
        if self.images or self.remembers or kept >= EASY:
            return ()
        return (start_after(kept, first, self.sight, self.outputs),)

    def neighbours(self, student: Student, evolutions: tuple[int, int]) -> Iterator[tuple[Move, Student]]:
        """What is one move from it, after the move; `evolutions`: episodes of a spell of evolution, and of each."""
        ways = self.teachers[student.teacher]
        for move, child in moves(
            student, self.sight, self.outputs, ways, evolutions, self.teachers, remembers=self.remembers
        ):
            if not child.evolve or self.n_macs(child) <= _EVOLVABLE:
                yield move, child

    def model_bytes(self, student: Student) -> int:
        """The size that it will have."""
        return student.model_bytes(self.sight, self.outputs, self.heads[student.teacher])

    def work(self, student: Student) -> float:
        """How long it takes to train, in steps of the smallest."""
        return student.work(self.sight, self.outputs)

    def n_macs(self, student: Student) -> int:
        """The multiply-accumulates that a decision of it will take."""
        return student.n_macs(self.sight, self.outputs)


def _outputs(policy: Policy) -> int:
    """The numbers that a decision is made from."""
    match policy.action_space:
        case spaces.Box() as box:
            return box.size
        case spaces.Discrete() | spaces.MultiDiscrete():
            last = policy.layers[-1]
            assert isinstance(last, layers.ArgmaxAction)
            return sum(last.sizes)
        case other:
            assert_never(other)


def _head_bytes(policy: Policy) -> int:
    """Of what shapes the action of its students."""
    return sum(array.nbytes for layer in small_head(split_head(policy)[1]) for array in constants(layer).values())
