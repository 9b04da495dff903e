"""On-policy distillation: small students play, the teacher says what it would have done there, they learn it (DAgger).

Ross, Gordon and Bagnell 2011 (arXiv:1011.0686); learned step sizes: Esser et al. 2020 (arXiv:1902.08153).
"""

import re
from dataclasses import dataclass, fields
from typing import ClassVar, Literal, final

from lilliput.errors import LilliputError
from lilliput.parameter import check_fields, check_integer
from lilliput.policies.affine import check_bits
from lilliput.policies.compress import distill_memory
from lilliput.policies.compress.context import Context
from lilliput.policies.compress.distill_course import Course, Settings
from lilliput.policies.compress.step import Step
from lilliput.policies.policy import Policy


@final
@dataclass(frozen=True)
class Distill(Step):
    """Trains a new network on what the teacher does in the states that the network gets itself into.

    A board (an observation of several axes that is no image) is seen as a vector of its numbers.

    A teacher with a memory follows the episodes that the student plays; the student has none, or sees the last
    observations at once (`history`).

    The student sees the raw observation: what the teacher's normalizer does is in its first layer. Without
    `weight_bits` it is real; with them, a part of the steps trains it quantized, and it is exactly what the integer
    runtime computes.

    Attributes:
        hidden: units of its hidden layers; () is a linear policy.
        steps: optimizer steps in all, over all rounds of play and learning.
        weight_bits: 2 to 8, for all layers or one number each; None: the student stays real.
        granularity: one weight scale for a layer, or one for every output: two bytes each, and fewer bits will do.
        activation_bits: 2 to 8, of the inputs of quantized layers.
        input_range: of the observation: one range a dimension, one for all, or `none`: real observations times integer
            weights.
        activation: between the layers.
        loss: between the actions of student and teacher. `kl`: between the distributions that they are drawn from; of
            an array that is `l2` in units of the spread that the teacher learned for each action, which its file has
            to have (PPO, TRPO and A2C without gSDE). `regret`: what is lost of the teacher's values; of an array an
            error counts by what the teacher's critic says that it costs, which its file has to have (SAC, TQC, TD3 and
            DDPG). Of choices also `cross_entropy`. `auto`: `l2`, of choices `kl`.
        disturbance: unrest while states are collected, 0 to 2: noise on the actions, and random actions now and then.
        restarts: trained at once on shared states; the better half on separate episodes goes on quantized, and the best
            of it, after any of the last rounds, is kept.
        inputs: how many numbers of the observation the student sees at most: those on which the teacher's actions
            depend most. None: all; of a board those that were not always the same while the teacher played.
        memory: GRU units in front of the hidden layers, a student that remembers; None: it does not. It is one student
            (`restarts` is of the others), trained over sequences; weight_bits is one number.
        history: how many observations, the last ones of the episode, the student sees at once; None: the last alone.
        teacher: the beginning of the digest of another teacher, of several that are given; None: the policy itself.
    """

    NAME: ClassVar[str] = "distill"
    VERSION: ClassVar[int] = 6
    MEMORY: ClassVar[bool] = True

    hidden: tuple[int, ...] = (24,)
    steps: int = 36_000
    weight_bits: int | tuple[int, ...] | None = None
    granularity: Literal["per_tensor", "per_channel"] = "per_tensor"
    activation_bits: int = 8
    input_range: Literal["per_dimension", "per_tensor", "none"] = "per_dimension"
    activation: Literal["silu", "relu", "tanh"] = "silu"
    loss: Literal["auto", "l2", "l1", "kl", "cross_entropy", "regret"] = "auto"
    disturbance: float = 0.5
    restarts: int = 4
    inputs: int | None = None
    teacher: str | None = None
    history: int | None = None
    memory: int | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        check_integer(self, "steps", self.steps, 10, 100_000_000)
        check_integer(self, "restarts", self.restarts, 1, 32)
        for size in self.hidden:
            check_integer(self, "hidden", size, 1, 4096)
        if self.inputs is not None:
            check_integer(self, "inputs", self.inputs, 1, 1 << 16)
        if self.history is not None:
            check_integer(self, "history", self.history, 2, 64)
        if self.memory is not None:
            check_integer(self, "memory", self.memory, 1, 1024)
            self._check_memory()
        for bits in self.weight_bits if isinstance(self.weight_bits, tuple) else (self.weight_bits or 8,):
            check_bits(bits, "distill: weight_bits")
        check_bits(self.activation_bits, "distill: activation_bits")
        if isinstance(self.weight_bits, tuple) and len(self.weight_bits) != len(self.hidden) + 1:
            raise LilliputError(
                f"distill: weight_bits has {len(self.weight_bits)} numbers; "
                f"the student has {len(self.hidden) + 1} layers"
            )
        if self.teacher is not None and re.fullmatch("[0-9a-f]{6,64}", self.teacher) is None:
            raise LilliputError(
                f"distill: teacher is {self.teacher[:80]!r}; it must be the beginning of a digest: 6 to 64 of 0-9a-f"
            )
        if not 0 <= self.disturbance <= 2:
            raise LilliputError(f"distill: disturbance is {self.disturbance:g}; it must be from 0 to 2")

    def _check_memory(self) -> None:
        if isinstance(self.weight_bits, tuple):
            raise LilliputError("distill: a student with a memory has one number of weight_bits for all layers")
        default = {one.name: one.default for one in fields(self)}
        for name in ("history", "restarts", "input_range"):
            if getattr(self, name) != default[name]:
                raise LilliputError(f"distill: {name} is nothing that a student with a memory uses; leave it out")

    def apply(self, policy: Policy, context: Context) -> Policy:
        """The best student, in the place of everything up to the head."""
        quantized = 0 if self.weight_bits is None else max(self.steps // 3, 1)
        context = context if self.teacher is None else context.taught_by(self.teacher)
        if self.memory is not None:
            assert not isinstance(self.weight_bits, tuple)
            course = distill_memory.SequenceSettings(
                name=f"distill {self.VERSION}",
                real_steps=self.steps - quantized,
                quantized_steps=quantized,
                weight_bits=self.weight_bits,
                granularity=self.granularity,
                activation_bits=self.activation_bits,
                loss=self.loss,
                disturbance=self.disturbance,
                learning_rate=distill_memory.LEARNING_RATE,
            )
            new = distill_memory.New(self.memory, self.hidden, self.activation, self.inputs)
            return distill_memory.distilled(course, context, new)
        bits = (self.weight_bits,) * (len(self.hidden) + 1) if isinstance(self.weight_bits, int) else self.weight_bits
        settings = Settings(
            name=f"distill {self.VERSION}",
            hidden=self.hidden,
            activation=self.activation,
            real_steps=self.steps - quantized,
            quantized_steps=quantized,
            weight_bits=bits,
            per_channel=self.granularity == "per_channel",
            activation_bits=self.activation_bits,
            input_range=self.input_range,
            loss=self.loss,
            disturbance=self.disturbance,
            restarts=self.restarts,
            inputs=self.inputs,
            history=self.history,
        )
        return Course(settings, context).run()
