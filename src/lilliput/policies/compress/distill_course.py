"""One course of distillation: rounds of play, in which the teacher says what it would have done, and of learning."""

import contextlib
import hashlib
import itertools
import json
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, final

import numpy as np

from lilliput.compiler import find_compiler
from lilliput.errors import LilliputError
from lilliput.files import whole, write_whole
from lilliput.policies import spaces
from lilliput.policies.compress.context import Abandoned, Context
from lilliput.policies.compress.distill_play import (
    Disturbance,
    RowsAct,
    Seen,
    Teacher,
    Watch,
    collect,
    outputs,
    small_head,
    split_head,
    vector_view,
)
from lilliput.policies.compress.restarts import BLOCK, MOST_EPISODES, Chosen, best, rows_for
from lilliput.policies.layers import History, Layer, LayerNorm, SelectInputs
from lilliput.policies.play import Lockstep, OutOfTime, SeedPlan
from lilliput.policies.policy import Policy, replace_layers
from lilliput.policies.students import Activation, Inputs, Quantization, Replay, Students, Trainer, cut

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
_FEW_ENVIRONMENTS, _FEW_STEPS = 16, 6_000
"""A short course has fewer environments, so that it gets to the end of long episodes all the same."""
_SAVE_EVERY_S = 60.0
_LAST_ROUNDS = 6
"""After which the quantized students are candidates."""
_CUTS = 30
"""Weights are cut so many times at most while they are real."""


@final
@dataclass(frozen=True)
class Settings:
    """What a course does; see `Distill`.

    Attributes:
        name: of the step, with its version.
        real_steps: of the student with real weights; quantized_steps: after it was quantized.
        learning_rate: of the first.
        sparsity: the part of the weights that are zero in the end.
        inputs: that are chosen from the observation; None: what the student begins with sees.
        history: observations that the student sees at once; None: the last alone.
    """

    name: str
    hidden: tuple[int, ...]
    activation: Activation
    real_steps: int
    quantized_steps: int
    weight_bits: tuple[int, ...] | None
    per_channel: bool
    activation_bits: int
    input_range: Literal["per_dimension", "per_tensor", "none"]
    loss: Literal["auto", "l2", "l1", "kl", "cross_entropy", "regret"]
    disturbance: float
    restarts: int
    learning_rate: float = LEARNING_RATE
    sparsity: float = 0.0
    inputs: int | None = None
    history: int | None = None


@final
@dataclass(frozen=True, eq=False)
class Start:
    """A student to begin with: weights and biases on the raw observation, or on what is selected.

    Attributes:
        kept: which weights are learned; the others stay zero.
        norms: behind each layer but the last, in front of the activation; None: there is none.
    """

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    kept: tuple[np.ndarray, ...]
    select: SelectInputs | None
    digest: str
    norms: tuple[LayerNorm | None, ...] = ()


@final
@dataclass(frozen=True, eq=False)
class _Stage:
    """Environments on episodes of their own, what disturbs them, and what else is random there."""

    lockstep: Lockstep
    disturbance: Disturbance
    rng: np.random.Generator

    def collect(self, act: RowsAct, n_states: int) -> Seen:
        """See `distill_play.collect`."""
        return collect(self.lockstep, act, self.disturbance, n_states)

    def close(self) -> None:
        """Close the environments."""
        self.lockstep.close()


@final
class Course:
    """What the rounds share.

    Raises:
        LilliputError: there is no environment to play in.
        MissingDependency: there is no C compiler.
    """

    def __init__(self, settings: Settings, context: Context, start: Start | None = None) -> None:
        self._name = settings.name.split()[0]
        self._vector = vector_view(context.teacher, self._name)
        if settings.loss == "regret" and not (context.teacher.is_discrete or context.learner.critic):
            raise LilliputError(
                f"{self._name}: loss 'regret' of an array needs the teacher's critic, which its file does not have, or "
                "which was left out (load_checkpoint gives it)"
            )
        if context.environment is None:
            raise LilliputError(f"{self._name} plays the environment; name it (--env ID)")
        n_inputs = math.prod(spaces.input_shape(context.teacher.observation_space))
        if settings.inputs is not None and settings.inputs > n_inputs:
            raise LilliputError(f"{self._name}: inputs is {settings.inputs}; the observation has {n_inputs}")
        find_compiler()
        self._settings, self._context, self._start = settings, context, start
        self._environment = context.environment
        self._teacher = Teacher(context.teacher, context.learner)
        self._head = small_head(split_head(context.teacher)[1])
        automatic = "kl" if context.teacher.is_discrete else "l2"
        self._loss: Any = automatic if settings.loss == "auto" else settings.loss
        self._spread = context.learner.action_std
        self._select = start.select if start is not None else None

    def run(self) -> Policy:
        """The policy of the best student.

        Raises:
            Abandoned: the context says that it is not worth going on.
        """
        students, replay = self._real()
        if self._settings.weight_bits is not None:
            students = self._quantized(students.chosen(self._leading(students)), replay)
        found = self._best(students, 1, MOST_EPISODES) if students.restarts > 1 else None
        network = students.network(0 if found is None else found.restarts[0])
        return replace_layers(self._context.teacher, (*self._view, *network, *self._head))

    @property
    def _view(self) -> tuple[Layer, ...]:
        """The layers that make what a student sees of the observation."""
        history = () if self._settings.history is None else (History(self._settings.history),)
        return (*self._vector, *(() if self._select is None else (self._select,)), *history)

    def _key(self) -> str:
        """What the real students depend on: the same for all bits, so that one training serves them all."""
        settings, environment = self._settings, self._environment
        parts = [
            settings.name, self._context.teacher.digest, environment.id, list(environment.wrappers),
            dict(environment.kwargs), self._context.seed, list(settings.hidden), settings.real_steps,
            settings.activation, self._loss, list(self._spread), settings.disturbance, settings.restarts,
            settings.learning_rate, settings.sparsity, settings.inputs,
            "" if self._start is None else self._start.digest,
            *([environment.max_steps] if environment.max_steps else []),
            *([f"history {settings.history}"] if settings.history is not None else []),
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:24]

    def _stage(self, purpose: str, rows: int) -> _Stage:
        """Environments on episodes of their own, and randomness that does not depend on what was done before."""
        rng = self._context.rng(purpose)
        seeds = itertools.islice(SeedPlan(self._context.seed).stream("distillation"), int(rng.integers(1 << 12)), None)
        space, deadline = self._context.teacher.observation_space, self._context.deadline
        lockstep = Lockstep(self._environment, space, rows, seeds, deadline=deadline)
        return _Stage(lockstep, Disturbance(self._settings.disturbance, lockstep, rng), rng)

    def _rows(self, restarts: int) -> int:
        """How many environments play at once: as many for each restart."""
        short = self._settings.real_steps + self._settings.quantized_steps < _FEW_STEPS
        return -(-(_FEW_ENVIRONMENTS if short else _ENVIRONMENTS) // restarts) * restarts

    def _shown(self) -> tuple[Seen, np.ndarray]:
        """What the teacher itself gets to see, and what it says there: played once for all students that are made in
        one folder.
        """
        settings, environment, context = self._settings, self._environment, self._context
        rows, wanted = self._rows(1), min(TEACHER_STATES, 4_000 + TEACHER_STATES_A_STEP * settings.real_steps)
        parts = [
            context.teacher.digest, environment.id, list(environment.wrappers), dict(environment.kwargs),
            environment.max_steps, context.seed, settings.disturbance, self._loss == "regret", rows, wanted,
        ]  # fmt: skip
        purpose = f"shown {json.dumps(parts, default=str)}"
        name = hashlib.sha256(purpose.encode()).hexdigest()[:24]
        path = None if context.work_folder is None else context.work_folder / f"shown-{name}.npz"
        if path is not None and path.exists():
            with np.load(path, allow_pickle=False) as kept:
                return Seen(kept["observations"], kept["begins"]), kept["said"]
        with contextlib.closing(self._stage(purpose, rows)) as stage:
            teacher = Watch(self._teacher.stack)
            seen = stage.collect(lambda x, begins: self._teacher.chosen(teacher(x, begins)), wanted)
        said = self._taught(seen, Watch(self._teacher.stack))
        if path is not None and context.seconds_left > 0:
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole(path) as file:
                np.savez(file, observations=seen.observations, begins=seen.begins, said=said)
        return seen, said

    def _real(self) -> tuple[Students, Replay]:
        """The students with real weights, taken up where an earlier run left them, and the states so far."""
        settings = self._settings
        with contextlib.closing(self._stage(f"real {self._key()}", self._rows(settings.restarts))) as stage:
            path = self._checkpoint("npz")
            saved = {} if path is None or not path.exists() else dict(np.load(path, allow_pickle=False))
            if saved:
                first = saved["x"]
                if "selected" in saved:
                    self._select = SelectInputs(saved["selected"])
                inputs = Inputs(*(saved[name] for name in ("centre", "scale", "low", "high")))
                targets = saved["y"]
            else:
                seen, targets = self._shown()
                if self._start is None:
                    self._select = self._teacher.selected_inputs(seen, settings.inputs)
                first = Watch(self._view).over(seen)
                inputs = Inputs.of(first)
            replay = Replay(first.shape[1], targets.shape[1])
            replay.add(first, targets)
            sizes = (first.shape[1], *settings.hidden, self._teacher.n_outputs)
            norms = () if self._start is None else self._start.norms
            epsilons = [0.0 if norm is None else norm.epsilon for norm in norms]
            students = Students(sizes, settings.activation, settings.restarts, inputs, stage.rng, epsilons)
            if saved:
                students.matrices = saved["matrices"]
                students.scales = saved.get("scales", students.scales)
            elif self._start is not None:
                students.begin(self._start.weights, self._start.biases, stage.rng, norms)
            if self._start is not None:
                students.hold_zeros(self._start.kept)
            done = int(saved["done"]) if saved else 0

            kept = time.monotonic()

            def keep(steps: int) -> None:
                nonlocal kept
                if steps == settings.real_steps or time.monotonic() - kept > _SAVE_EVERY_S:
                    self._save(path, students, replay, steps)
                    kept = time.monotonic()

            span = (done, settings.real_steps)
            self._rounds(students, replay, stage, span, settings.learning_rate, keep)
        return students, replay

    def _quantized(self, students: Students, replay: Replay) -> Students:
        """The students as they were at the end of each of the last rounds, the last round's first: what imitates as
        well may fall or not, and that changes from round to round (Block et al. 2023, arXiv:2310.11428).
        """
        settings, after = self._settings, deque[Students](maxlen=_LAST_ROUNDS)
        assert settings.weight_bits is not None
        with contextlib.closing(self._stage(f"quantized {self._key()}", self._rows(students.restarts))) as stage:
            quantization = Quantization(
                settings.weight_bits, settings.activation_bits, settings.input_range, settings.per_channel
            )
            students.quantize(quantization, replay.observations[stage.rng.integers(0, len(replay), 4096)])
            rate = min(settings.learning_rate, QUANTIZED_LEARNING_RATE)

            def keep(_: int) -> None:
                after.appendleft(students.chosen(range(students.restarts)))

            self._rounds(students, replay, stage, (0, settings.quantized_steps), rate, keep)
        return Students.joined(after) if after else students

    def _rounds(
        self,
        students: Students,
        replay: Replay,
        stage: _Stage,
        span: tuple[int, int],
        rate: float,
        keep: Callable[[int], None],
    ) -> None:
        """Learn from the first to the last step of the span, or to the deadline; `keep` is told after each round."""
        view, teacher = Watch(self._view), Watch(self._teacher.stack)
        trainer = Trainer(students, self._head, self._loss, replay.targets, self._spread, stage.rng)
        act = self._act(students, Watch(self._view))
        done, steps = span
        quantized = students.quantization is not None
        cutting = self._settings.sparsity > 0 and not quantized
        each = max(1, min(ROUND_STEPS, steps // (_CUTS if cutting else ROUNDS)))
        while done < steps and self._context.seconds_left > 0:
            n = min(each, steps - done)
            if done or quantized or self._start is not None:
                seen = stage.collect(act, STATES_A_STEP * n)
                replay.add(view.over(seen), self._taught(seen, teacher))
            if cutting:
                students.prune(self._settings.sparsity * cut(done / steps))
            trainer.run(replay, n, batch=BATCH, done=done, total=steps, learning_rate=rate)
            done += n
            before, settings = self._settings.real_steps if quantized else 0, self._settings
            self._told(self._name)(before + done, settings.real_steps + settings.quantized_steps)
            keep(done)

    def _told(self, what: str) -> Callable[[int, int], None]:
        return partial(self._context.progress or (lambda *_: None), what)

    def _taught(self, seen: Seen, teacher: Watch) -> np.ndarray:
        """What the teacher says of the states; for the regret of an array, behind it what errors cost there."""
        said = teacher.over(seen).reshape(len(seen.flat), -1).astype(np.float32)
        if self._loss != "regret" or self._context.teacher.is_discrete:
            return said
        with np.errstate(over="ignore", invalid="ignore"):
            costs = self._teacher.costs(seen.flat, said)
        if not np.isfinite(costs).all():
            raise LilliputError(f"{self._name}: the teacher's critic overflows; take another loss")
        return np.concatenate([said, costs], axis=1)

    def _act(self, students: Students, view: Watch) -> RowsAct:
        return lambda x, begins: outputs(self._head, students.outputs(view(x, begins)))

    def _leading(self, students: Students) -> tuple[int, ...]:
        """The better half of the restarts. A few episodes do: that the best of all is not among them is rare.

        Raises:
            Abandoned: what they return is not worth going on, as the context says.
        """
        path, n = self._checkpoint("leading.json"), -(-students.restarts // 2)
        if path is not None and path.exists():
            return tuple(json.loads(path.read_text()))
        if students.restarts == n and self._context.goes_on is None:
            return tuple(range(n))
        found = self._best(students, n, BLOCK)
        if found is None:
            return tuple(range(n))
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps(found.restarts))
        if self._context.goes_on is not None and not self._context.goes_on(found.returns):
            raise Abandoned(f"{self._name}: left before it was quantized", found.returns)
        return found.restarts

    def _best(self, students: Students, n: int, most: int) -> Chosen | None:
        """The n restarts of the highest return on so many selection seeds at most; None without the time."""
        restarts, what = students.restarts, f"{self._name}: episodes that choose"
        if self._context.seconds_left <= 0:
            return None
        lockstep = self._stage(f"selection {self._key()}", rows_for(restarts)).lockstep

        def play(which: Sequence[int], seeds: Sequence[int]) -> np.ndarray:
            act, rows = self._act(students.chosen(which), Watch(self._view)), len(which) * len(seeds)
            found = lockstep.returns(lambda x: act(x[:rows], lockstep.begins[:rows]), tuple(seeds) * len(which))
            return found.reshape(len(which), -1)

        try:
            return best(n, restarts, play, self._context.selection_seeds(most), self._told(what))
        except OutOfTime:
            return None
        finally:
            lockstep.close()

    def _checkpoint(self, suffix: str) -> Path | None:
        folder = self._context.work_folder
        return None if folder is None else folder / f"{self._name}-{self._key()}.{suffix}"

    def _save(self, path: Path | None, students: Students, replay: Replay, done: int) -> None:
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        inputs = students.inputs
        arrays: dict[str, Any] = {
            "x": replay.observations, "y": replay.targets, "matrices": students.matrices, "done": np.array(done),
            "scales": students.scales,
            "centre": inputs.centre, "scale": inputs.scale, "low": inputs.low, "high": inputs.high,
        }  # fmt: skip
        if self._select is not None:
            arrays["selected"] = self._select.indices
        with whole(path) as file:
            np.savez(file, **arrays)
