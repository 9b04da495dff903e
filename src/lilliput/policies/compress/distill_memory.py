"""A course for students that remember: rounds of play as in `distill_course`, and learning over sequences."""

import math
import time
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from typing import Any, Literal, final

import numpy as np

from lilliput.compiler import find_compiler
from lilliput.errors import LilliputError
from lilliput.policies import layers, spaces
from lilliput.policies.compress.context import Context
from lilliput.policies.compress.distill_play import (
    Disturbance,
    Seen,
    Teacher,
    Watch,
    collect,
    outputs,
    small_head,
    split_head,
    vector_view,
)
from lilliput.policies.compress.quantize import Quantize
from lilliput.policies.layers import Layer
from lilliput.policies.play import Lockstep, SeedPlan
from lilliput.policies.policy import Policy, replace_layers
from lilliput.policies.students import ACTIVATIONS, Activation, Aim, Chain, Inputs, Soap

ROWS = 16
"""Episodes that go on at the same time, and sequences of a gradient."""
STEPS, BEFORE = 32, 16
"""Steps of a sequence that are learned from, and before them, for the memory to be what it would be."""
ROUND_STEPS, ROUNDS = 500, 6
STATES_A_STEP = 9
TEACHER_STATES = 40_000
LEARNING_RATE, LATER_RATE = 1e-2, 2e-3
"""Of a new student; of one that was trained, and of a quantized one."""
_LAST_RATE = 1e-5
_CALIBRATED_ON = 8_192
_NO_CLIP = 1e9
_SCALE_ERROR, _HALF_ERROR = 1e-3, 4e-3
"""Of a scale, as a part of it, and of a bias, up to which they are stored in half the bytes."""


@final
@dataclass(frozen=True)
class SequenceSettings:
    """What a course does; see `Distill`.

    Attributes:
        name: of the step, with its version.
        real_steps: of the student with real weights; quantized_steps: after it was quantized, or of a quantized one.
        weight_bits: that it is quantized to; None: it stays what it is.
    """

    name: str
    real_steps: int
    quantized_steps: int
    weight_bits: int | None
    granularity: Literal["per_tensor", "per_channel"]
    activation_bits: int
    loss: Literal["auto", "l2", "l1", "kl", "cross_entropy", "regret"]
    disturbance: float
    learning_rate: float


@final
@dataclass(frozen=True)
class New:
    """A student to be made: GRU units, hidden layers behind them, and how many inputs it sees at most (None: all)."""

    units: int
    hidden: tuple[int, ...]
    activation: Activation
    inputs: int | None


def distilled(settings: SequenceSettings, context: Context, start: New | tuple[Layer, ...]) -> Policy:
    """The student after the course, in the place of everything up to the head: a new one, or layers that learn on.

    Raises:
        LilliputError: there is no environment to play in, or the loss is not finite.
        NotApplicable: layers that do not learn here.
        MissingDependency: there is no C compiler.
    """
    name = settings.name.split()[0]
    if context.environment is None:
        raise LilliputError(f"{name} plays the environment; name it (--env ID)")
    vector_view(context.teacher, name)
    n_inputs = math.prod(spaces.input_shape(context.teacher.observation_space))
    if isinstance(start, New) and start.inputs is not None and start.inputs > n_inputs:
        raise LilliputError(f"{name}: inputs is {start.inputs}; the observation has {n_inputs}")
    if not isinstance(start, New):
        Chain(start)  # refuses now what does not learn
    find_compiler()
    rng = context.rng(f"{settings} {start if isinstance(start, New) else ''} {context.teacher.digest}")
    seeds = islice(SeedPlan(context.seed).stream("distillation"), int(rng.integers(1 << 12)), None)
    space = context.teacher.observation_space
    lockstep = Lockstep(context.environment, space, ROWS, seeds, deadline=context.deadline)
    try:
        return _Course(settings, context, lockstep, rng).run(start)
    finally:
        lockstep.close()


@final
class _Course:
    """One course."""

    def __init__(
        self, settings: SequenceSettings, context: Context, lockstep: Lockstep, rng: np.random.Generator
    ) -> None:
        self._settings, self._context, self._lockstep, self._rng = settings, context, lockstep, rng
        self._name = settings.name.split()[0]
        self._teacher = Teacher(context.teacher, context.learner)
        self._head = small_head(split_head(context.teacher)[1])
        self._disturbance = Disturbance(settings.disturbance, lockstep, rng)
        self._watch = Watch(self._teacher.stack)
        self._done = 0

    def run(self, start: New | tuple[Layer, ...]) -> Policy:
        settings = self._settings
        acting = Watch(self._teacher.stack)
        total = settings.real_steps + settings.quantized_steps
        wanted = min(TEACHER_STATES, 4_000 + 3 * total)
        first = collect(
            self._lockstep, lambda x, begins: self._teacher.chosen(acting(x, begins)), self._disturbance, wanted
        )
        self._seen, self._said = first, self._taught(first)
        stack = self._made(start, first) if isinstance(start, New) else start
        self._acting = Watch(stack)
        self._acting.over(first)
        automatic = "kl" if self._context.teacher.is_discrete else "l2"
        loss: Any = automatic if settings.loss == "auto" else settings.loss
        if loss == "regret" and not self._context.teacher.is_discrete:
            raise LilliputError(f"{self._name}: loss 'regret' of an array is not for students with a memory; take l2")
        spread = self._context.learner.action_std
        self._aim = Aim(self._said.shape[2], self._head, loss, self._said.reshape(-1, self._said.shape[2]), spread)
        if settings.real_steps:
            stack = self._learned(stack, settings.real_steps, settings.learning_rate)
        stack = _folded(stack)
        if settings.weight_bits is not None and not _is_quantized(stack):
            stack = self._quantized(stack)
        if settings.quantized_steps:
            stack = self._learned(stack, settings.quantized_steps, min(settings.learning_rate, LATER_RATE))
        return replace_layers(self._context.teacher, (*stack, *self._head))

    def _taught(self, seen: Seen) -> np.ndarray:
        """What the teacher says of what was seen: (steps, rows, outputs)."""
        return self._watch.over(seen).reshape(*seen.begins.shape, -1).astype(np.float32)

    def _made(self, new: New, seen: Seen) -> tuple[Layer, ...]:
        """A new student, its inputs standardized."""
        view = vector_view(self._context.teacher, self._name)
        select = self._teacher.selected_inputs(seen, new.inputs)
        view = view if select is None else (*view, select)
        inputs = Inputs.of(outputs(view, seen.flat))
        rng, n = self._rng, len(inputs.scale)
        standardize = layers.Standardize(
            inputs.centre.astype(np.float32), inputs.scale.astype(np.float32), np.asarray(_NO_CLIP, np.float32)
        )
        gates = np.zeros(3 * new.units, np.float32)
        gates[new.units : 2 * new.units] = 1  # at first it keeps what it remembers
        memory = layers.Gru(
            layers.Dense(_drawn(rng, 3 * new.units, n, 1.0), gates),
            layers.Dense(_drawn(rng, 3 * new.units, new.units, 1.0), np.zeros(3 * new.units, np.float32)),
        )
        kind, sizes = ACTIVATIONS[new.activation], (new.units, *new.hidden, self._said.shape[2])
        behind: list[Layer] = []
        for index, (fan_in, fan_out) in enumerate(pairwise(sizes)):
            last = index == len(sizes) - 2
            behind += [
                layers.Dense(_drawn(rng, fan_out, fan_in, 0.5 if last else kind.gain), np.zeros(fan_out, np.float32)),
                *(() if last else (kind.layer,)),
            ]
        return (*view, standardize, memory, *behind)

    def _learned(self, stack: tuple[Layer, ...], steps: int, rate: float) -> tuple[Layer, ...]:
        """The stack after so many gradients, or as many as there was time for."""
        chain, soap, done = Chain(stack), Soap(), 0
        total = self._settings.real_steps + self._settings.quantized_steps
        each = max(1, min(ROUND_STEPS, steps // ROUNDS))
        while done < steps and self._context.seconds_left > 0:
            n, began = min(each, steps - done), time.monotonic()
            self._acting.change(chain.stack())
            if self._done:
                self._collect(STATES_A_STEP * n)
            for _ in range(n):
                along = done / steps
                self._step(chain, soap, rate * (0.5 + 0.5 * float(np.cos(np.pi * along))) + _LAST_RATE)
                done += 1
                if self._context.seconds_left <= 0:
                    break
            self._done += n
            if self._context.progress is not None and time.monotonic() > began:
                self._context.progress(self._name, self._done, total)
        return chain.stack()

    def _collect(self, n_states: int) -> None:
        def act(x: np.ndarray, begins: np.ndarray) -> np.ndarray:
            return outputs(self._head, self._acting(x, begins))

        seen = collect(self._lockstep, act, self._disturbance, n_states)
        said = self._taught(seen)
        old = self._seen
        self._seen = Seen(
            np.concatenate([old.observations, seen.observations]), np.concatenate([old.begins, seen.begins])
        )
        self._said = np.concatenate([self._said, said])

    def _step(self, chain: Chain, soap: Soap, rate: float) -> None:
        """One gradient on sequences drawn from all that was seen."""
        length = min(STEPS + BEFORE, len(self._seen.begins))
        rows = self._rng.integers(0, self._seen.begins.shape[1], ROWS)
        starts = self._rng.integers(0, len(self._seen.begins) - length + 1, ROWS)
        at = starts + np.arange(length)[:, None]
        begins = self._seen.begins[at, rows]
        y, back = chain.forward(self._seen.observations[at, rows], begins)
        # What stands before the sequence is not known: the first steps only fill the memory, unless an episode begins.
        known = np.maximum.accumulate(begins, axis=0) | (np.arange(length)[:, None] >= min(BEFORE, length // 2))
        dy = np.zeros_like(y)
        loss, dy[known] = self._aim.gradient(y[known], self._said[at, rows][known])
        if not np.isfinite(loss):
            raise LilliputError(f"{self._name}: the loss is not finite")
        back(dy)
        matrices = [one.matrix_of_all for one in chain.linear]
        gradients = [one.gradient_of_all for one in chain.linear]
        soap.step(matrices, gradients, rate)
        for one, matrix in zip(chain.linear, matrices, strict=True):
            one.take(matrix)

    def _quantized(self, stack: tuple[Layer, ...]) -> tuple[Layer, ...]:
        """The stack with codes, ranges from the last episodes that it played."""
        assert self._settings.weight_bits is not None
        quantize = Quantize(
            self._settings.weight_bits,
            self._settings.activation_bits,
            "static",
            self._settings.granularity,
            "mse",
            "per_dimension",
        )
        policy = replace_layers(self._context.teacher, (*stack, *self._head))
        made = quantize.on_episodes(policy, _episodes(self._seen, _CALIBRATED_ON, self._rng))
        return tuple(_short(layer) for layer in made.layers[: len(stack)])


def _drawn(rng: np.random.Generator, fan_out: int, fan_in: int, gain: float) -> np.ndarray:
    return (rng.standard_normal((fan_out, fan_in)) * gain / np.sqrt(fan_in)).astype(np.float32)


def _folded(stack: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """A normalizer that does not clip, taken up by the layer behind it."""
    for index, (layer, behind) in enumerate(pairwise(stack)):
        if not isinstance(layer, layers.Standardize) or float(layer.clip.max()) < _NO_CLIP:
            continue
        assert isinstance(behind, layers.Gru)
        assert isinstance(behind.input, layers.Dense)
        assert behind.input.bias is not None
        weight = behind.input.weight.astype(np.float64) * layer.scale
        bias = behind.input.bias - weight @ layer.mean.astype(np.float64)
        given = layers.Dense(weight.astype(np.float32), bias.astype(np.float32))
        return (*stack[:index], replace(behind, input=given), *stack[index + 2 :])
    return stack


def _is_quantized(stack: tuple[Layer, ...]) -> bool:
    return any(isinstance(part, layers.QuantizedDense) for layer in stack for part in layers.linear_parts(layer))


def _episodes(seen: Seen, n_observations: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Episodes of all rows and rounds, whole or cut at the end, about so many observations in all."""
    found: list[np.ndarray] = []
    for row in range(seen.begins.shape[1]):
        cuts = [*np.flatnonzero(seen.begins[:, row]), len(seen.begins)]
        found += [seen.observations[a:b, row] for a, b in pairwise(cuts)]
    drawn = [found[i] for i in rng.permutation(len(found))]
    before = np.cumsum([0, *map(len, drawn)])[:-1]
    return [episode for episode, n in zip(drawn, before, strict=True) if n < n_observations]


def _short(layer: Layer) -> Layer:
    """The layer with scales and biases in half the bytes, where training after it makes good what that changes."""
    match layer:
        case layers.Lstm() | layers.Gru():
            given, recurrent = _short(layer.input), _short(layer.recurrent)
            assert isinstance(given, layers.Dense | layers.QuantizedDense)
            assert isinstance(recurrent, layers.Dense | layers.QuantizedDense)
            return replace(layer, input=given, recurrent=recurrent)
        case layers.QuantizedDense(weight=weight, bias=bias, input=range_):
            scale = _half(weight.scale, _SCALE_ERROR)
            if bias is not None:
                bias = _half(bias, 0.0, _HALF_ERROR)
            if isinstance(range_, layers.StaticRange):
                range_ = replace(range_, inverse_scale=_half(range_.inverse_scale, _SCALE_ERROR))
            return layers.QuantizedDense(replace(weight, scale=scale), bias, range_)
        case _:
            return layer


def _half(array: np.ndarray, relative: float, absolute: float = 0.0) -> np.ndarray:
    """In float16 where no number changes by more than that, else as it is."""
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    off = np.abs(half.astype(np.float64) - array)
    return half if (off <= relative * np.abs(array.astype(np.float64)) + absolute).all() else array
