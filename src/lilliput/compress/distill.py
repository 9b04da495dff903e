"""On-policy distillation: small students play, the teacher says what it would have done there, they learn it (DAgger).

Ross, Gordon and Bagnell 2011 (arXiv:1011.0686); learned step sizes: Esser et al. 2020 (arXiv:1902.08153).
"""

import hashlib
import itertools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

import numpy as np

from lilliput import reference
from lilliput.affine import check_bits
from lilliput.compress.context import Context
from lilliput.compress.distill_play import (
    Disturbance, Lockstep, Teacher, collect, returns, small_head, split_head,
)  # fmt: skip
from lilliput.compress.step import Step, check_fields, check_integer
from lilliput.errors import LilliputError, MissingDependency
from lilliput.layers import Layer
from lilliput.policy import Policy, replace_layers
from lilliput.rollout import SeedPlan

if TYPE_CHECKING:
    from lilliput.torch_bridge import Replay, Students

BATCH = 256
LEARNING_RATE = 1e-2
QUANTIZED_LEARNING_RATE = 4e-3
ROUND_STEPS = 1_500
ROUNDS = 6
"""Of a short course; longer ones have rounds of ROUND_STEPS."""
STATES_A_STEP = 9
TEACHER_STATES = 40_000
TEACHER_STATES_A_STEP = 3
_ENVIRONMENTS = 32


@final
@dataclass(frozen=True)
class Distill(Step):
    """Trains a new network on what the teacher does in the states that the network gets itself into.

    The student sees the raw observation: what the teacher's normalizer does is in its first layer. Without `weight_bits` it is
    real; with them, a part of the steps trains it quantized, and it is exactly what the integer runtime computes.

    Attributes:
        hidden: units of its hidden layers; () is a linear policy.
        steps: optimizer steps in all, over all rounds of play and learning.
        weight_bits: 2 to 8, for all layers or one number each; None: the student stays real.
        activation_bits: 2 to 8, of the inputs of quantized layers.
        input_range: of the observation: one range a dimension, one for all, or `none`: real observations times integer weights.
        activation: between the layers.
        loss: between the actions of student and teacher; of choices also `kl`, `cross_entropy` and `regret`; `auto`: `l2`, of
            choices `kl`.
        disturbance: unrest while states are collected, 0 to 2: noise on the actions, and random actions now and then.
        restarts: trained at once on shared states; the best on separate episodes is kept.
    """

    NAME: ClassVar[str] = "distill"
    VERSION: ClassVar[int] = 1

    hidden: tuple[int, ...] = (24,)
    steps: int = 36_000
    weight_bits: int | tuple[int, ...] | None = None
    activation_bits: int = 8
    input_range: Literal["per_dimension", "per_tensor", "none"] = "per_dimension"
    activation: Literal["silu", "relu", "tanh"] = "silu"
    loss: Literal["auto", "l2", "l1", "kl", "cross_entropy", "regret"] = "auto"
    disturbance: float = 0.5
    restarts: int = 4

    def __post_init__(self) -> None:
        check_fields(self)
        check_integer(self, "steps", self.steps, 10, 100_000_000)
        check_integer(self, "restarts", self.restarts, 1, 32)
        for size in self.hidden:
            check_integer(self, "hidden", size, 1, 4096)
        for bits in self.weight_bits if isinstance(self.weight_bits, tuple) else (self.weight_bits or 8,):
            check_bits(bits, "distill: weight_bits")
        check_bits(self.activation_bits, "distill: activation_bits")
        if isinstance(self.weight_bits, tuple) and len(self.weight_bits) != len(self.hidden) + 1:
            raise LilliputError(
                f"distill: weight_bits has {len(self.weight_bits)} numbers; the student has {len(self.hidden) + 1} layers"
            )
        if not 0 <= self.disturbance <= 2:
            raise LilliputError(f"distill: disturbance is {self.disturbance:g}; it must be from 0 to 2")

    def apply(self, policy: Policy, context: Context) -> Policy:
        """The best student, in the place of everything up to the head."""
        try:
            from lilliput import torch_bridge
        except ModuleNotFoundError as error:
            raise MissingDependency(
                f"distill needs {error.name}; install it with: pip install 'lilliput[torch]'"
            ) from error
        with torch_bridge.one_thread():
            return _Course(self, context).run()


@final
class _Course:
    """One distillation: what is shared by its rounds."""

    def __init__(self, step: Distill, context: Context) -> None:
        if context.environment is None:
            raise LilliputError("distill plays the environment; name it (--env ID)")
        self.step, self.context = step, context
        self.teacher = Teacher(context.teacher)
        self.head = small_head(split_head(context.teacher)[1])
        self.loss: Any = ("kl" if context.teacher.is_discrete else "l2") if step.loss == "auto" else step.loss
        self.quantized_steps = 0 if step.weight_bits is None else max(step.steps // 3, 1)
        self.real_steps = step.steps - self.quantized_steps
        self.rng = context.rng(f"distill {self._key()}")
        seeds = SeedPlan(context.seed).stream("distillation")
        # Every distillation plays other episodes than the one before it would have.
        self.seeds = itertools.islice(seeds, int(self.rng.integers(1 << 12)), None)
        self.started = time.monotonic()

    def _key(self) -> str:
        """What the real students depend on: the same for all bits, so that one training serves them all."""
        step = self.step
        assert self.context.environment is not None
        parts = [
            Distill.VERSION, self.context.teacher.digest, self.context.environment.id, list(self.context.environment.wrappers),
            dict(self.context.environment.kwargs), self.context.seed, list(step.hidden), self.real_steps, step.activation,
            self.loss, step.disturbance, step.restarts,
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:24]

    def run(self) -> Policy:
        """The policy of the best student."""
        from lilliput import torch_bridge

        assert self.context.environment is not None
        restarts = self.step.restarts
        n = -(-_ENVIRONMENTS // restarts) * restarts
        lockstep = Lockstep(self.context.environment, self.context.teacher.observation_space, n, self.seeds)
        try:
            disturbance = Disturbance(self.step.disturbance, lockstep, self.rng)
            first = collect(
                lockstep,
                self.teacher.act,
                disturbance,
                min(TEACHER_STATES, 4_000 + TEACHER_STATES_A_STEP * self.real_steps),
            )
            replay = torch_bridge.Replay(first.shape[1], self.teacher.targets(first[:1]).shape[1])
            replay.add(first, self.teacher.targets(first))
            inputs = torch_bridge.Inputs.of(first)
            sizes = (first.shape[1], *self.step.hidden, self.teacher.targets(first[:1]).shape[1])
            students = torch_bridge.Students(sizes, self.step.activation, restarts, inputs, self.rng)
            self._real(students, replay, lockstep, disturbance)
            if self.step.weight_bits is not None:
                self._quantized(students, replay, lockstep, disturbance)
            best = self._best(students, lockstep)
        finally:
            lockstep.close()
        return self._policy(students.network(best))

    def _policy(self, network: tuple[Layer, ...]) -> Policy:
        return replace_layers(self.context.teacher, (*network, *self.head))

    def _real(self, students: "Students", replay: "Replay", lockstep: Lockstep, disturbance: Disturbance) -> None:
        path = self._checkpoint()
        if path is not None and path.exists():
            with np.load(path, allow_pickle=False) as saved:
                students.restore({name: saved[name] for name in saved.files if name.startswith("matrix")})
                replay.add(saved["x"], saved["y"])
            return
        if (
            self._rounds(students, replay, lockstep, disturbance, self.real_steps, LEARNING_RATE, 0)
            and path is not None
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part.npz")
            np.savez(part, x=replay.observations.numpy(), y=replay.targets.numpy(), **students.state())  # pyright: ignore[reportArgumentType]
            part.replace(path)

    def _quantized(self, students: "Students", replay: "Replay", lockstep: Lockstep, disturbance: Disturbance) -> None:
        from lilliput import torch_bridge

        bits, n_layers = self.step.weight_bits, len(self.step.hidden) + 1
        assert bits is not None
        each = bits if isinstance(bits, tuple) else (bits,) * n_layers
        quantization = torch_bridge.Quantization(each, self.step.activation_bits, self.step.input_range)
        sample = replay.observations[self.rng.integers(0, len(replay), 4096)]
        students.quantize(quantization, sample)
        self._rounds(
            students, replay, lockstep, disturbance, self.quantized_steps, QUANTIZED_LEARNING_RATE, self.real_steps
        )

    def _rounds(
        self,
        students: "Students",
        replay: "Replay",
        lockstep: Lockstep,
        disturbance: Disturbance,
        steps: int,
        rate: float,
        before: int,
    ) -> bool:
        """Whether all of the steps were made before the deadline."""
        from lilliput import torch_bridge

        trainer = torch_bridge.Trainer(students, self.head, self.loss, replay.targets, int(self.rng.integers(1 << 31)))
        act = self._act(students)
        done, each = 0, max(1, min(ROUND_STEPS, steps // ROUNDS))
        while done < steps:
            n = min(each, steps - done)
            if done or before:
                x = collect(lockstep, act, disturbance, STATES_A_STEP * n)
                replay.add(x, self.teacher.targets(x))
            trainer.run(replay, n, batch=BATCH, done=done, total=steps, learning_rate=rate)
            done += n
            if self.context.progress is not None:
                self.context.progress("distillation", before + done, self.step.steps)
            if self.context.seconds_left <= 0:
                return False
        return True

    def _act(self, students: "Students") -> Callable[[np.ndarray], np.ndarray]:
        import torch

        restarts = students.restarts

        def act(x: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                y = students.forward(torch.from_numpy(x.reshape(restarts, -1, x.shape[1])))
            actions = y.reshape(len(x), -1).numpy()
            for layer in self.head:
                actions = reference.apply(layer, actions)
            return actions

        return act

    def _best(self, students: "Students", lockstep: Lockstep) -> int:
        """The restart of the highest mean return on the selection seeds."""
        if students.restarts == 1:
            return 0
        each = len(lockstep) // students.restarts
        seeds = self.context.selection_seeds(each) * students.restarts
        found = returns(lockstep, self._act(students), seeds).reshape(students.restarts, each)
        self.scores = found
        return int(found.mean(axis=1).argmax())

    def _checkpoint(self) -> Path | None:
        folder = self.context.work_folder
        return None if folder is None else folder / f"distill-{self._key()}.npz"
