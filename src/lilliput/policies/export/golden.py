"""Golden examples: observations with the reference's actions, which every artifact of the policy must reproduce."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, assert_never, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference, spaces
from lilliput.policies.export.steadiness import SHAKE, movement
from lilliput.policies.fixed_point import FixedPoint
from lilliput.policies.policy import Policy

N_EXAMPLES = 64
MAX_BYTES = 1 << 19
"""Of the observations: images are fewer."""

TOLERANCE = 1e-5
"""How far an action may be off, of the action's scale."""

WORST_TOLERANCE = 0.05
"""Where a policy rounds so coarsely that its examples would need more, they prove nothing."""


@final
@dataclass(frozen=True, eq=False)
class Golden:
    """Examples: raw observations (n, *input shape) of the input's dtype, the reference's actions, and the tolerance.

    With a memory, sequences from an episode's start: (n, steps, *input shape).
    """

    observations: np.ndarray
    actions: np.ndarray
    tolerance: float


def golden_examples(policy: Policy, observations: Any = None) -> Golden:
    """Examples of a policy without memory on which another order of rounding does not show.

    They are the same ones for the same policy and observations.

    Args:
        policy: what is exported.
        observations: raw ones that the policy met; without them, drawn from its normalizer and its observation space.

    Raises:
        LilliputError: observations of another shape, or a policy too unsteady to be compared with anything.
    """
    return _examples(policy, observations, lambda candidates: candidates, SHAKE, TOLERANCE)


def _examples(
    policy: Policy, observations: Any, snapped: Callable[[np.ndarray], np.ndarray], shake: float, tolerated: float
) -> Golden:
    rng = np.random.default_rng(int(policy.digest[:16], 16))
    space = policy.observation_space
    one = int(np.prod(spaces.input_shape(space))) * np.dtype(spaces.input_dtype(space)).itemsize
    n = int(np.clip(MAX_BYTES // one, 16, N_EXAMPLES))
    n_candidates = 4 * n if n == N_EXAMPLES else 2 * n
    ordinary = _drawn(policy, n_candidates, rng)
    if observations is not None:
        seen = spaces.artifact_input(space, observations)
        seen = _distinct(seen[rng.permutation(len(seen))[:n_candidates]])
        ordinary = np.concatenate([seen, ordinary[len(seen) :]])
    extreme = _distinct(_extremes(policy))
    candidates = snapped(np.concatenate([extreme, ordinary]))
    actions = reference.act(policy, candidates)
    moves = np.where(_finite(candidates, actions), movement(policy, candidates, rng, shake), np.inf)
    tolerance = 0.0 if policy.is_discrete else tolerated * scale(policy, actions[len(extreme) :])
    if not policy.is_discrete and np.count_nonzero(moves <= tolerance) < n // 4:
        # Thousands of codes, or units that saturate where two codes meet: the steadiest examples, and what they bear.
        bearable = float(np.sort(moves)[n // 4 - 1]) * 1.5
        worst = tolerance * WORST_TOLERANCE / tolerated
        if not bearable <= worst:
            raise LilliputError(
                f"the policy is too unsteady to check: numbers changed by {shake:g} move its action by {bearable:.2g}, "
                f"more than {worst:.2g}; {remedy(policy)}"
            )
        tolerance = max(tolerance, bearable)
    steady = moves <= tolerance
    chosen = np.flatnonzero(steady)
    if policy.is_discrete and len(chosen) < n // 4:
        # Choices that tie everywhere, as of a policy pruned to a constant: the artifact has to show that it ties alike.
        chosen = np.argsort(~steady, kind="stable")
    chosen = chosen[:n]
    return Golden(candidates[chosen], actions[chosen], tolerance)


INTEGER_SHAKE = 1e-4
"""Relative change of the numbers between two layers that integers may make: a code is off by one only where the number
that is rounded lies within a twentieth of the middle between two."""

INTEGER_TOLERANCE = 1e-3
"""How far an action that is an integer may be off, of the action's scale."""


def golden_integers(policy: Policy, units: FixedPoint, observations: Any = None) -> Golden:
    """Examples whose observations are integers in these units: see `golden_examples`.

    Raises:
        LilliputError: observations of another shape, or a policy too unsteady to be compared with anything.
    """

    def snapped(candidates: np.ndarray) -> np.ndarray:
        # What floats cannot hold of 32 bits is rounded once more: the integer of a float is exact.
        reals = units.reals(units.integers(candidates)).astype(np.float32)
        return units.reals(units.integers(reals)).astype(np.float32).reshape(candidates.shape)

    return _examples(policy, observations, snapped, INTEGER_SHAKE, INTEGER_TOLERANCE)


def remedy(policy: Policy) -> str:
    """What helps against unsteady actions: what the cause is tells."""
    first = policy.layers[0]
    if isinstance(first, layers.Standardize):
        steps = np.spacing(np.abs(np.asarray(first.mean, np.float32))) * np.abs(first.scale.astype(np.float32))
        if (steps > SHAKE).any():
            return (
                f"float32 has steps of {float(steps.max()):.2g} standard deviations where its normalizer's mean is: "
                "take that offset off the observation before it reaches the policy"
            )
    if any(isinstance(layer, layers.QuantizedDense | layers.QuantizedConv2d) for layer in policy.layers):
        return "give real observations, or more bits"
    return "give real observations: it amplifies the last digits of those that were drawn"


def _distinct(observations: np.ndarray) -> np.ndarray:
    return observations[np.sort(np.unique(observations, axis=0, return_index=True)[1])]


def _finite(observations: np.ndarray, actions: np.ndarray) -> np.ndarray:
    pairs = zip(observations, actions, strict=True)
    return np.array([bool(np.isfinite(x).all() and np.isfinite(a).all()) for x, a in pairs])


def scale(policy: Policy, actions: np.ndarray) -> float:
    """How large actions are: half the widest range of the action space, or what is typical where that is unbounded."""
    if isinstance(policy.action_space, spaces.Box):
        half = (policy.action_space.high - policy.action_space.low) / 2
        if np.isfinite(half).all() and half.max() < 1e6:
            return float(half.max())
    typical = float(np.median(np.abs(actions).reshape(len(actions), -1).max(axis=1)))
    return typical if np.isfinite(typical) and typical > 0 else 1.0


@final
@dataclass(frozen=True, eq=False)
class InputSpread:
    """For every input: the centre and width of what is likely, the bounds, and whether it is a whole number."""

    centre: np.ndarray
    width: np.ndarray
    low: np.ndarray
    high: np.ndarray
    whole: np.ndarray


def spread(policy: Policy) -> InputSpread:
    """What is likely, as far as the normalizer and the observation space tell."""
    space = policy.observation_space
    boxes = (space,) if isinstance(space, spaces.Box) else tuple(box for _, box in space.boxes)
    low, high, whole = (
        np.concatenate([np.broadcast_to(part, box.shape).reshape(-1) for box, part in zip(boxes, parts, strict=True)])
        for parts in (
            [box.low for box in boxes],
            [box.high for box in boxes],
            [np.array(not box.dtype.startswith("float")) for box in boxes],
        )
    )
    bounded = high - low < 1e4
    centre = np.where(bounded, np.clip(low, -1e6, 1e6) / 2 + np.clip(high, -1e6, 1e6) / 2, 0)
    width = np.where(bounded, (high - low) / 4, 1)
    inputs = np.arange(len(centre))  # the number of the observation that each of the values is; -1: none
    for layer in policy.layers[:3]:
        match layer:
            case layers.SelectInputs(indices=indices):
                inputs = inputs[indices]
            case layers.PreviousAction(start=start, size=size):
                inputs = np.insert(inputs, start, np.full(size, -1))
            case layers.Standardize() if layer.mean.shape in ((), inputs.shape):
                # An image is divided by 255 without a mean: nothing is learned about it from that.
                if layer.mean.any():
                    scale, read = np.abs(layer.scale.astype(np.float64)), inputs >= 0
                    unit = np.broadcast_to(1 / np.where(scale > 0, scale, 1), inputs.shape)
                    centre[inputs[read]] = np.broadcast_to(layer.mean, inputs.shape)[read]
                    width[inputs[read]] = unit[read]
            case (
                layers.Standardize() | layers.Dense() | layers.QuantizedDense() | layers.Conv2d()
                | layers.QuantizedConv2d() | layers.LayerNorm() | layers.Flatten() | layers.Relu() | layers.Tanh()
                | layers.Sigmoid() | layers.Elu() | layers.LeakyRelu() | layers.Silu() | layers.Gelu()
                | layers.HardTanh() | layers.Lstm() | layers.Gru() | layers.History() | layers.SquashAction()
                | layers.BetaAction() | layers.RescaleAction() | layers.ClipAction() | layers.ArgmaxAction()
            ):  # fmt: skip
                break
            case _:
                assert_never(layer)
    shape = spaces.input_shape(space)
    return InputSpread(*(array.reshape(shape) for array in (centre, width, low, high, whole)))


def _drawn(policy: Policy, n: int, rng: np.random.Generator) -> np.ndarray:
    likely = spread(policy)
    steps = rng.choice([0.3, 1.0, 3.0], (n, *(1,) * likely.centre.ndim)) * rng.normal(size=(n, *likely.centre.shape))
    return allowed(policy, likely, likely.centre + steps * likely.width)


def _extremes(policy: Policy) -> np.ndarray:
    """Zeros, the centre, the bounds, and values far outside of what is likely."""
    likely = spread(policy)
    bounds = np.maximum(likely.low, -1e6), np.minimum(likely.high, 1e6)
    far = (likely.centre + k * likely.width for k in (-1000, -10, 10, 1000))
    return allowed(policy, likely, np.stack([np.zeros_like(likely.centre), likely.centre, *bounds, *far]))


def allowed(policy: Policy, likely: InputSpread, observations: np.ndarray) -> np.ndarray:
    """The observations within the bounds of the space, whole where they have to be, of the type that artifacts take."""
    clipped = np.clip(observations, likely.low, likely.high)
    return np.where(likely.whole, np.rint(clipped), clipped).astype(spaces.input_dtype(policy.observation_space))
