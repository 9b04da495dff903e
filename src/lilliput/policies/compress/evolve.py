"""Evolution of the last weights: not what the teacher does, but the return itself decides.

The covariance matrix adaptation evolution strategy (Hansen 2016, arXiv:1604.00772) on the codes that are stored:
what is played is what is kept. Of many parameters only the diagonal is adapted (Ros, Hansen 2008).
Repeatable from the seed on one machine; on another processor BLAS and LAPACK give other last digits, and games others.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, assert_never, final

import numpy as np
from jaxtyping import Float32, Float64

from lilliput.errors import LilliputError
from lilliput.parameter import check_fields, check_integer
from lilliput.policies import layers, reference
from lilliput.policies.affine import QuantizedTensor, signed_range
from lilliput.policies.compress.context import Context
from lilliput.policies.compress.distill_play import split_head
from lilliput.policies.compress.step import Step
from lilliput.policies.layers import Layer
from lilliput.policies.play import Lockstep, OutOfTime, SeedPlan
from lilliput.policies.policy import Policy, replace_layers

_FULL_COVARIANCE = 260
_CHECKS = 4
_CHECK_EPISODES = 24
_JUDGED_FROM, _JUDGED = 2_048, (24, 96)
"""Selection seeds from here on, this side of those that judge trials, tell whether anything was gained; how many."""


@final
@dataclass(frozen=True)
class Evolve(Step):
    """Moves the weights of a small policy towards a higher return.

    Attributes:
        episodes: to play in all; an episode more of a long game costs as much as a thousand steps of training.
        each: episodes that every member of a generation plays, the same seeds for all of them.
        population: members of a generation; 0: 4 + 3 ln(number of parameters).
        sigma: the first step, as a part of the spread of each layer's weights.
    """

    NAME: ClassVar[str] = "evolve"
    VERSION: ClassVar[int] = 2

    episodes: int = 4_000
    each: int = 1
    population: int = 0
    sigma: float = 0.1

    def __post_init__(self) -> None:
        check_fields(self)
        check_integer(self, "episodes", self.episodes, 1, 100_000_000)
        check_integer(self, "each", self.each, 1, 1000)
        check_integer(self, "population", self.population, 0, 10_000)
        if not 0 < self.sigma <= 10:
            raise LilliputError(f"evolve: sigma is {self.sigma:g}; it must be above 0, at most 10")

    def apply(self, policy: Policy, context: Context) -> Policy:
        """The policy with other weights, or as it was where nothing was gained on selection seeds of their own."""
        if context.environment is None:
            raise LilliputError("evolve plays the environment; name it (--env ID)")
        genome = Genome(policy)
        rng = context.rng(f"evolve {policy.digest}")
        seeds = itertools.islice(SeedPlan(context.seed).stream("distillation"), int(rng.integers(1 << 12)), None)
        population = self.population or 2 * round((4 + 3 * math.log(genome.n)) / 2)
        population += population % 2
        lockstep = Lockstep(
            context.environment, policy.observation_space, population * self.each, seeds, deadline=context.deadline
        )
        try:
            best = _search(self, genome, Strategy(genome.n, population, self.sigma, rng), lockstep, seeds, context)
            wins = bool(best.any()) and _gains(genome, best, lockstep, context, self.episodes)
        finally:
            lockstep.close()
        if not wins:
            context.tell("evolution gained nothing that more episodes confirm: the policy stays as it was")
            return policy
        return genome.policy(best)


def _search(
    step: Evolve, genome: "Genome", strategy: "Strategy", lockstep: Lockstep, seeds: Iterator[int], context: Context
) -> Float64[np.ndarray, " n"]:
    """The genome that returned most on the selection seeds, of those in the middle of the population now and then."""
    generations = max(1, step.episodes // len(lockstep))
    checks = {round(generations * (i + 1) / _CHECKS) for i in range(_CHECKS)}
    best, most = np.zeros(genome.n), -math.inf
    try:
        most = score(genome, best, lockstep, context)
        for generation in range(1, generations + 1):
            members = strategy.ask()
            shared = list(itertools.islice(seeds, step.each))
            found = lockstep.returns(genome.act(members, step.each), shared * len(members))
            strategy.tell(found.reshape(len(members), step.each).mean(axis=1))
            if context.progress is not None:
                context.progress("evolution", generation, generations)
            if generation in checks:
                value = score(genome, strategy.mean, lockstep, context)
                if value > most:
                    best, most = strategy.mean.copy(), value
    except OutOfTime:  # what was judged last is what there is
        pass
    return best


def _gains(
    genome: "Genome", member: Float64[np.ndarray, " n"], lockstep: Lockstep, context: Context, episodes: int
) -> bool:
    """Whether it returns more than the policy as it was, by more than a standard error, on the same unseen episodes.

    The best of several looks is lucky: these episodes chose nothing.
    """
    least, most = _JUDGED
    n = min(most, max(least, episodes // 32))
    seeds = context.selection_seeds(_JUDGED_FROM + n)[_JUDGED_FROM:]
    try:
        before, after = (_returns(genome, one, lockstep, seeds) for one in (np.zeros(genome.n), member))
    except OutOfTime:
        return False
    gained = after - before
    return float(gained.mean()) > float(gained.std(ddof=1)) / math.sqrt(n)


def _returns(
    genome: "Genome", member: Float64[np.ndarray, " n"], lockstep: Lockstep, seeds: Sequence[int]
) -> Float64[np.ndarray, " m"]:
    """Of the member, on each seed."""
    n = len(lockstep)
    act = genome.act(member[None], n)
    return np.concatenate([lockstep.returns(act, seeds[i : i + n]) for i in range(0, len(seeds), n)])


def score(genome: "Genome", member: Float64[np.ndarray, " n"], lockstep: Lockstep, context: Context) -> float:
    """Its mean return on the selection seeds."""
    n = len(lockstep)
    seeds = context.selection_seeds(min(_JUDGED_FROM, max(n, _CHECK_EPISODES // n * n)))
    return float(_returns(genome, member, lockstep, seeds).mean())


@final
class Genome:
    """The numbers of a policy that evolution may change, as a vector of steps away from what they are."""

    def __init__(self, policy: Policy) -> None:
        network, self._head = split_head(policy)
        self._policy, self._network = policy, network
        self._start: list[np.ndarray] = []
        units = []
        for layer in network:
            match layer:
                case layers.QuantizedDense(weight=weight, bias=bias):
                    codes = weight.values.astype(np.float64)
                    spread = float(np.sqrt((codes**2).mean())) or 1.0
                    # Less than a third of a code changes nothing that is stored.
                    units += [np.full(codes.size, max(spread, 3.0)), np.full(1, 0.5)]
                    self._start += [codes, np.log(weight.scale.astype(np.float64)).reshape(-1)[:1] * 0]
                    if bias is not None:
                        self._start.append(bias.astype(np.float64))
                        scale = weight.scale.astype(np.float64)
                        units.append(np.full(bias.size, float(np.abs(scale).mean()) * spread * _input_spread(layer)))
                case layers.Dense(weight=weight, bias=bias):
                    real = weight.astype(np.float64)
                    self._start.append(real)
                    spread = float(np.sqrt((real**2).mean())) or 1.0
                    units.append(np.full(real.size, spread))
                    if bias is not None:
                        self._start.append(bias.astype(np.float64))
                        units.append(np.full(bias.size, spread))
                case layers.Flatten() | layers.SelectInputs() | layers.Standardize():
                    continue
                case layers.Relu() | layers.Tanh() | layers.Silu() | layers.Sigmoid():
                    continue
                case layers.Elu() | layers.LeakyRelu() | layers.Gelu() | layers.HardTanh():
                    continue
                case layers.LayerNorm():
                    continue  # its gains and shifts stay what they are
                case (
                    layers.Conv2d() | layers.QuantizedConv2d() | layers.Lstm() | layers.Gru() | layers.History()
                    | layers.PreviousAction() | layers.SquashAction() | layers.BetaAction()
                    | layers.RescaleAction() | layers.ClipAction() | layers.ArgmaxAction()
                ):  # fmt: skip
                    raise LilliputError(
                        f"evolve: {type(layer).__name__} is not supported; give a network of dense layers"
                    )
                case _:
                    assert_never(layer)
        self._units = np.concatenate(units)
        self.n = len(self._units)

    def _parts(self, members: Float64[np.ndarray, "m n"]) -> Iterator[np.ndarray]:
        at = 0
        for start in self._start:
            step = (members[:, at : at + start.size] * self._units[at : at + start.size]).reshape(-1, *start.shape)
            at += start.size
            yield start + step

    def _built(self, members: Float64[np.ndarray, "m n"]) -> list[tuple[Layer, tuple[np.ndarray, ...]]]:
        """Each layer with the arrays of all members: weights or codes, scales, biases."""
        parts = self._parts(members)
        built: list[tuple[Layer, tuple[np.ndarray, ...]]] = []
        for layer in self._network:
            match layer:
                case layers.QuantizedDense(weight=weight, bias=bias):
                    low, high = signed_range(weight.bits)
                    codes = np.clip(np.rint(next(parts)), low, high)
                    factor = np.exp(next(parts))
                    scale = (weight.scale.astype(np.float64).reshape(1, -1) * factor).astype(weight.scale.dtype)
                    found = (codes, scale) if bias is None else (codes, scale, next(parts).astype(bias.dtype))
                case layers.Dense(weight=weight, bias=bias):
                    real = next(parts).astype(np.float32)
                    found = (real,) if bias is None else (real, next(parts).astype(np.float32))
                case _:  # no more than __init__ let in: nothing of it moves
                    found = ()
            built.append((layer, found))
        return built

    def act(self, members: Float64[np.ndarray, "m n"], each: int) -> "_Act":
        """What all members do: the first `each` observations are those of the first one, and so on."""
        return _Act(self._built(members), self._head, len(members), each)

    def policy(self, member: Float64[np.ndarray, " n"]) -> Policy:
        """The policy of that member."""
        new: list[Layer] = []
        for layer, arrays in self._built(member[None]):
            match layer:
                case layers.QuantizedDense(weight=weight):
                    tensor = QuantizedTensor(
                        arrays[0][0].astype(np.int8), np.asarray(arrays[1][0]).reshape(weight.scale.shape), weight.bits
                    )
                    new.append(replace(layer, weight=tensor, bias=arrays[2][0] if len(arrays) > 2 else None))
                case layers.Dense():
                    new.append(replace(layer, weight=arrays[0][0], bias=arrays[1][0] if len(arrays) > 1 else None))
                case _:  # as it was
                    new.append(layer)
        return replace_layers(self._policy, (*new, *self._head))


def _input_spread(layer: layers.QuantizedDense) -> float:
    """About how far the input of a layer goes, in the units of its codes."""
    match layer.input:
        case layers.StaticRange(bits=bits):
            return float(1 << bits) / 8
        case layers.DynamicRange() | None:
            return 1.0
        case _:
            assert_never(layer.input)


@final
@dataclass(frozen=True, eq=False)
class _Act:
    built: Sequence[tuple[Layer, tuple[np.ndarray, ...]]]
    head: tuple[Layer, ...]
    members: int
    each: int

    @np.errstate(invalid="ignore")  # OpenBLAS raises it for nothing: see linear._matmul
    def __call__(self, x: Float32[np.ndarray, "n ..."]) -> np.ndarray:
        y = x.reshape(self.members, self.each, -1)
        one = np.float32(1)
        for layer, arrays in self.built:
            match layer:
                case layers.QuantizedDense(input=layers.StaticRange() as range_):
                    q = np.rint(y * range_.inverse_scale.astype(np.float32)) + range_.zero_point.astype(np.float32)
                    q = np.clip(q, 0, (1 << range_.bits) - 1)
                    total = np.matmul(q, arrays[0].astype(np.float32).transpose(0, 2, 1))
                    y = total * arrays[1].astype(np.float32)[:, None]
                    y = y + arrays[2].astype(np.float32)[:, None] if len(arrays) > 2 else y
                case layers.QuantizedDense(input=None):
                    y = (
                        np.matmul(y, arrays[0].astype(np.float32).transpose(0, 2, 1))
                        * arrays[1].astype(np.float32)[:, None]
                    )
                    y = y + arrays[2].astype(np.float32)[:, None] if len(arrays) > 2 else y
                case layers.Dense():
                    y = np.matmul(y, arrays[0].transpose(0, 2, 1))
                    y = y + arrays[1][:, None] if len(arrays) > 1 else y
                case layers.Silu():
                    y = y / (one + np.exp(np.clip(-y, -80, 80)))
                case layers.QuantizedDense():
                    raise LilliputError(
                        'evolve: ranges of each observation are not supported; quantize(scheme="static")'
                    )
                case _:  # as everywhere
                    flat = reference.apply(layer, y.reshape(len(x), -1))
                    y = flat.reshape(self.members, self.each, -1)
        flat = y.reshape(len(x), -1)
        for layer in self.head:
            flat = reference.apply(layer, flat)
        return flat


@final
class Strategy:
    """CMA-ES that maximizes; it starts at 0 with the spread `sigma` in every direction."""

    def __init__(self, n: int, population: int, sigma: float, rng: np.random.Generator) -> None:
        self.mean, self.sigma = np.zeros(n), sigma
        self._n, self._population, self._rng = n, population, rng
        self._diagonal = n > _FULL_COVARIANCE
        half = population // 2
        raw = math.log((population + 1) / 2) - np.log(np.arange(1, half + 1))
        self._weights = raw / raw.sum()
        effective = 1 / float((self._weights**2).sum())
        self._effective = effective
        self._c_sigma = (effective + 2) / (n + effective + 5)
        self._damping = 1 + 2 * max(0.0, math.sqrt((effective - 1) / (n + 1)) - 1) + self._c_sigma
        self._c_path = (4 + effective / n) / (n + 4 + 2 * effective / n)
        faster = (n + 2) / 3 if self._diagonal else 1.0
        self._c_one = min(1.0, faster * 2 / ((n + 1.3) ** 2 + effective))
        rank_mu = faster * 2 * (effective - 2 + 1 / effective) / ((n + 2) ** 2 + effective)
        self._c_mu = min(1 - self._c_one, rank_mu)
        self._length = math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n * n))
        self._path_sigma, self._path = np.zeros(n), np.zeros(n)
        self._covariance = np.ones(n) if self._diagonal else np.eye(n)
        self._basis, self._spread = np.eye(0 if self._diagonal else n), np.ones(n)
        self._generation = 0
        self._steps = np.zeros((0, n))

    def ask(self) -> Float64[np.ndarray, "members n"]:
        """The next generation, in mirrored pairs."""
        z = self._rng.standard_normal((self._population // 2, self._n))
        z = np.concatenate([z, -z])
        self._steps = z * self._spread if self._diagonal else (z * self._spread) @ self._basis.T
        return self.mean + self.sigma * self._steps

    def tell(self, values: Float64[np.ndarray, " members"]) -> None:
        """Move towards the members of high value."""
        self._generation += 1
        chosen = self._steps[np.argsort(-values, kind="stable")[: len(self._weights)]]
        step = self._weights @ chosen
        self.mean = self.mean + self.sigma * step
        white = step / self._spread if self._diagonal else self._basis @ ((self._basis.T @ step) / self._spread)
        c, e = self._c_sigma, self._effective
        self._path_sigma = (1 - c) * self._path_sigma + math.sqrt(c * (2 - c) * e) * white
        length = float(np.linalg.norm(self._path_sigma)) / self._length
        calm = length / math.sqrt(1 - (1 - c) ** (2 * self._generation)) < 1.4 + 2 / (self._n + 1)
        c = self._c_path
        self._path = (1 - c) * self._path + calm * math.sqrt(c * (2 - c) * e) * step
        keep = 1 - self._c_one - self._c_mu
        if self._diagonal:
            spread = self._c_one * self._path**2 + self._c_mu * (self._weights @ chosen**2)
            self._covariance = keep * self._covariance + spread
            self._spread = np.sqrt(self._covariance)
        else:
            outer = self._c_one * np.outer(self._path, self._path) + self._c_mu * (chosen.T * self._weights) @ chosen
            self._covariance = keep * self._covariance + outer
            if self._generation % max(1, self._n // 20) == 0:
                values_, self._basis = np.linalg.eigh((self._covariance + self._covariance.T) / 2)
                self._spread = np.sqrt(np.maximum(values_, 1e-20))
        self.sigma *= math.exp(min(1.0, (self._c_sigma / self._damping) * (length - 1)))
