"""On-policy distillation into small convolutional networks: as `distill`, for policies that see images (DAgger)."""

import hashlib
import importlib.util
import itertools
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from lilliput.errors import LilliputError, MissingDependency
from lilliput.files import whole
from lilliput.parameter import check_fields, check_integer
from lilliput.policies import layers, reference, spaces
from lilliput.policies.affine import check_bits
from lilliput.policies.compress.context import Context
from lilliput.policies.compress.distill_play import Disturbance, windows_of
from lilliput.policies.compress.step import Step
from lilliput.policies.play import Lockstep, OutOfTime, SeedPlan
from lilliput.policies.policy import Policy, replace_layers
from lilliput.policies.students.frames import Frames

if TYPE_CHECKING:
    from lilliput.policies.students.image_student import ImageStudent, Shape

LEARNING_RATE, QUANTIZED_LEARNING_RATE = 2e-3, 5e-4
ROUNDS, QUANTIZED_ROUNDS = 8, 3
FIRST_STATES = 4_000
STATES_A_STEP = 8
MOST_STATES = 120_000
"""Of 7 kB each, where frames overlap."""
_ENVIRONMENTS = 16
_TAUGHT = 4
"""In every fourth environment the teacher plays: it gets further than a young student does."""
_RANGES = 1_024
"""Images that ranges are taken from."""


@final
@dataclass(frozen=True)
class DistillImages(Step):
    """Trains a new, small convolutional network on what the teacher chooses in the states that the network gets into.

    The convolutions have the teacher's windows and strides, and fewer channels. The student sees the raw bytes: the
    division by 255 is in its first layer. With `weight_bits` a third of the steps trains it quantized, and it is
    exactly what the integer runtime computes. Needs torch (the extra `train`).

    Attributes:
        channels: of the convolutions, the first of them first; fewer than the teacher has leave its last ones out.
        hidden: units of the dense layers between the convolutions and the outputs; () is none.
        steps: optimizer steps in all, over all rounds of play and learning.
        weight_bits: 2 to 8, for all layers or one number each; None: the student stays real.
        activation_bits: 2 to 8, of the inputs of all layers but the first, which takes bytes.
        disturbance: unrest while states are collected, 0 to 2: random choices now and then.
        teacher: the beginning of the digest of another teacher, of several that are given; None: the policy itself.
    """

    NAME: ClassVar[str] = "distill_images"
    VERSION: ClassVar[int] = 2

    channels: tuple[int, ...] = (8, 16, 16)
    hidden: tuple[int, ...] = (32,)
    steps: int = 6_000
    weight_bits: int | tuple[int, ...] | None = None
    activation_bits: int = 8
    disturbance: float = 0.5
    teacher: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        check_integer(self, "steps", self.steps, 10, 100_000_000)
        if not self.channels:
            raise LilliputError("distill_images: channels is (); give those of one convolution or more")
        for name, sizes in (("channels", self.channels), ("hidden", self.hidden)):
            for size in sizes:
                check_integer(self, name, size, 1, 4096)
        for bits in self.weight_bits if isinstance(self.weight_bits, tuple) else (self.weight_bits or 8,):
            check_bits(bits, "distill_images: weight_bits")
        check_bits(self.activation_bits, "distill_images: activation_bits")
        n = len(self.channels) + len(self.hidden) + 1
        if isinstance(self.weight_bits, tuple) and len(self.weight_bits) != n:
            raise LilliputError(
                f"distill_images: weight_bits has {len(self.weight_bits)} numbers; the student has {n} layers"
            )
        if self.teacher is not None and re.fullmatch("[0-9a-f]{6,64}", self.teacher) is None:
            raise LilliputError(
                f"distill_images: teacher is {self.teacher[:80]!r}; it must be the beginning of a digest: 6 to 64 of "
                "0-9a-f"
            )
        if not 0 <= self.disturbance <= 2:
            raise LilliputError(f"distill_images: disturbance is {self.disturbance:g}; it must be from 0 to 2")

    def apply(self, policy: Policy, context: Context) -> Policy:
        """The student in the place of everything up to the choice."""
        return _Course(self, context if self.teacher is None else context.taught_by(self.teacher)).run()

    @property
    def bits(self) -> tuple[int, ...] | None:
        """Of each layer's weights."""
        n = len(self.channels) + len(self.hidden) + 1
        return (self.weight_bits,) * n if isinstance(self.weight_bits, int) else self.weight_bits


def can_train_images() -> bool:
    """Whether torch is there."""
    return importlib.util.find_spec("torch") is not None


def _shape(teacher: Policy, step: DistillImages) -> "Shape":
    """Of such a student of the teacher.

    Raises:
        NotApplicable: as `windows_of`.
        MissingDependency: there is no torch.
    """
    windows = windows_of(teacher, len(step.channels))
    if not can_train_images():
        raise MissingDependency("distill_images needs torch: pip install 'lilliput[train]'")
    from lilliput.policies.students.image_student import Shape

    (channels, height, width), head = spaces.input_shape(teacher.observation_space), teacher.layers[-1]
    assert isinstance(head, layers.ArgmaxAction)
    return Shape((channels, height, width), windows, step.channels, step.hidden, sum(head.sizes))


@final
class _Course:
    """What the rounds share."""

    def __init__(self, step: DistillImages, context: Context) -> None:
        if context.environment is None:
            raise LilliputError("distill_images plays the environment; name it (--env ID)")
        self._step, self._context, self._environment = step, context, context.environment
        self._shape = _shape(context.teacher, step)
        head = context.teacher.layers[-1]
        assert isinstance(head, layers.ArgmaxAction)
        self._head = head
        self._quantized_steps = 0 if step.weight_bits is None else max(step.steps // 3, 1)
        self._unit = 1.0

    def run(self) -> Policy:
        """The policy of the student."""
        from lilliput.policies.students.image_student import ImageStudent

        step, real_steps = self._step, self._step.steps - self._quantized_steps
        seed = int(self._context.rng(f"first weights {self._key()}").integers(1 << 31))
        student = ImageStudent(self._shape, step.bits, step.activation_bits, seed)
        path = self._checkpoint()
        if path is not None and path.exists():
            student.restore(dict(np.load(path, allow_pickle=False)))
        else:
            self._learn(student, "real", real_steps, ROUNDS, LEARNING_RATE, 0)
            if path is not None and self._context.seconds_left > 0:
                path.parent.mkdir(parents=True, exist_ok=True)
                with whole(path) as file:
                    np.savez(file, allow_pickle=False, **student.state())
        if step.weight_bits is not None:
            self._learn(
                student, "quantized", self._quantized_steps, QUANTIZED_ROUNDS, QUANTIZED_LEARNING_RATE, real_steps
            )
        return replace_layers(self._context.teacher, (*student.network(), self._head))

    def _key(self) -> str:
        """What the real student depends on: the same for all bits, so that one training serves them all."""
        step, environment = self._step, self._environment
        parts = [
            step.NAME, step.VERSION, self._context.teacher.digest, environment.id, list(environment.wrappers),
            dict(environment.kwargs), environment.max_steps, self._context.seed, list(step.channels),
            list(step.hidden), step.steps - self._quantized_steps, step.disturbance,
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:24]

    def _checkpoint(self) -> Path | None:
        folder = self._context.work_folder
        return None if folder is None else folder / f"{self._step.NAME}-{self._key()}.npz"

    def _learn(self, student: "ImageStudent", stage: str, steps: int, rounds: int, rate: float, before: int) -> None:
        """Rounds of play and of learning, to the last step or the deadline."""
        from lilliput.policies.students.image_student import BATCH
        from lilliput.policies.students.inheritance import inherited

        context = self._context
        rng = context.rng(f"{stage} {self._key()}")
        seeds = itertools.islice(SeedPlan(context.seed).stream("distillation"), int(rng.integers(1 << 12)), None)
        lockstep = Lockstep(
            self._environment, context.teacher.observation_space, _ENVIRONMENTS, seeds, deadline=context.deadline
        )
        try:
            disturbance = Disturbance(self._step.disturbance, lockstep, rng)
            frames, said = Frames(self._shape.image), np.zeros((0, self._shape.outputs), np.float32)
            quantized = stage == "quantized"
            wanted = min(MOST_STATES - FIRST_STATES, STATES_A_STEP * steps) // rounds
            done = 0
            for index in range(rounds):
                if context.seconds_left <= 0:
                    break
                young = index == 0 and not quantized
                n = min(FIRST_STATES, 500 + STATES_A_STEP * steps) if index == 0 else wanted
                said = np.concatenate([said, self._collected(student, young, lockstep, disturbance, frames, n)])
                if index == 0:
                    self._unit = unit_of(self._context.teacher, said, self._head.sizes)
                if index == 0:
                    sample = frames.rows(rng.integers(0, len(frames), _RANGES))
                    if quantized:
                        student.quantize(sample)
                    else:
                        stack = self._context.teacher.layers[:-1]
                        student.begin(sample, inherited(stack, self._step.channels, sample))
                end = steps * (index + 1) // rounds
                at = (np.arange(done, end) + 0.5) / steps
                student.train(
                    frames,
                    said / np.float32(self._unit),
                    self._head.sizes,
                    rng.integers(0, len(frames), (end - done, BATCH)),
                    (rate * (0.5 + 0.5 * np.cos(np.pi * at))).tolist(),
                    context.deadline,
                )
                done = end
                if context.progress is not None:
                    context.progress(self._step.NAME, before + done, self._step.steps)
        finally:
            lockstep.close()

    def _collected(
        self,
        student: "ImageStudent",
        young: bool,
        lockstep: Lockstep,
        disturbance: Disturbance,
        frames: Frames,
        n_states: int,
    ) -> np.ndarray:
        """What the teacher says of so many states more, which are kept; a young student does not play yet."""
        from lilliput.policies.students.image_student import outputs_of

        stack, n = self._context.teacher.layers[:-1], len(lockstep)
        teaches = np.arange(n) % _TAUGHT == 0
        choose: Callable[[np.ndarray], np.ndarray] = lambda values: reference.apply(self._head, values)  # noqa: E731
        said = []
        for _ in range(-(-n_states // n)):
            images = lockstep.observations.astype(np.uint8)
            frames.add(images)
            said.append(outputs_of(stack, images))
            actions = choose(said[-1])
            if not young:
                own = choose(student.outputs(images))
                actions = np.where(teaches.reshape(-1, *(1,) * (own.ndim - 1)), actions, own)
            try:
                lockstep.step(disturbance(actions))
            except OutOfTime:
                break
        return np.concatenate(said)


def unit_of(teacher: Policy, said: np.ndarray, groups: tuple[int, ...]) -> float:
    """What a choice is made in: 1 for logarithms of chances, the usual gap between the two best for values.

    Of logarithms the gap is no unit: where two choices come to the same (in Pong to move, and to move and fire) it is
    next to nothing, and a student would learn which of them is ahead in the place of what matters.
    """
    if not re.search("DQN", teacher.provenance.algorithm):
        return 1.0
    parts = np.split(said, np.cumsum(groups)[:-1], axis=1)
    gaps = [np.diff(np.sort(part, axis=1)[:, max(-2, -part.shape[1]) :], axis=1) for part in parts]
    return float(np.median(np.concatenate([gap.reshape(-1) for gap in gaps])).clip(1e-6)) if said.size else 1.0
