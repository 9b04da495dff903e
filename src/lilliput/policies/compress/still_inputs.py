"""Inputs that stood still in calibration, such as a commanded speed: a range for what they may be later."""

import numpy as np
from jaxtyping import Bool, Float32, Float64

from lilliput.policies import layers, reference, spaces
from lilliput.policies.policy import Policy

_DEVIATIONS = 3.0
"""Of a normalizer, on each side."""

_BOUNDED = 1e4
"""A space that is wider says nothing."""

_NARROW = 0.5
"""Of the range that an input may have: what moved over less of it in calibration is named."""

_ROOM = 4.0
"""Times the largest number that was seen, where nothing else is known."""


def is_still(x: Float32[np.ndarray, "n inputs"]) -> Bool[np.ndarray, " inputs"]:
    """Which inputs were the same number in all observations."""
    return np.asarray((x == x[0]).all(axis=0))


def range_of_inputs(
    policy: Policy, index: int, x: Float32[np.ndarray, "n inputs"]
) -> tuple[Float64[np.ndarray, " inputs"], Float64[np.ndarray, " inputs"], Bool[np.ndarray, " inputs"]]:
    """The lowest and the highest that each input of that linear layer may be, and where that is a guess.

    What a normalizer says, else the bounds of the space, else as far from where it stood as four times the largest
    number that an input had which moved; for hidden units what all of them had. Where it stood is always inside.
    """
    guessed = np.ones(x.shape[1], bool)
    before = policy.layers[:index]
    if any(isinstance(layer, layers.Linear) for layer in before):
        low, high = (np.full(x.shape[1], float(end)) for end in (x.min(), x.max()))
        return low, high, guessed
    moved = ~is_still(x)
    size = _ROOM * float(np.abs(x[:, moved] if moved.any() else x).max(initial=0)) or 1.0
    low, high = x[0].astype(np.float64) - size, x[0].astype(np.float64) + size
    if all(isinstance(layer, layers.Flatten | layers.SelectInputs | layers.Standardize) for layer in before):
        bounds = spaces.network_bounds(policy.observation_space)
        bounded = bounds[1] - bounds[0] < _BOUNDED
        ends = np.where(bounded, bounds, 0).astype(np.float32)
        normalized = np.zeros(len(bounded), bool)
        for layer in before:
            ends = reference.apply(layer, ends)
            if isinstance(layer, layers.SelectInputs):
                bounded, normalized = bounded[layer.indices], normalized[layer.indices]
            elif isinstance(layer, layers.Standardize) and layer.mean.any():
                # An image is divided by 255 without a mean: nothing is learned about it from that.
                normalized = normalized | True
        for known, (least, most) in ((bounded, np.sort(ends, axis=0)), (normalized, (-_DEVIATIONS, _DEVIATIONS))):
            low, high, guessed = np.where(known, least, low), np.where(known, most, high), guessed & ~known
    return np.minimum(low, x[0]), np.maximum(high, x[0]), guessed


def with_room(
    policy: Policy,
    index: int,
    x: Float32[np.ndarray, "n inputs"],
    low: Float64[np.ndarray, " inputs"],
    high: Float64[np.ndarray, " inputs"],
) -> tuple[Float64[np.ndarray, " inputs"], Float64[np.ndarray, " inputs"]]:
    """The calibrated ranges, where inputs stood still with what they may be.

    One that stood at another number than 0 sets what the others do: a speed follows its command. They get their range
    of the normalizer or the bounds too, or room to four times the largest number that they had, on both sides of 0.
    """
    still = is_still(x)
    least, most, guessed = range_of_inputs(policy, index, x)
    low, high = np.where(still, least, low), np.where(still, most, high)
    if not (still & (x[0] != 0)).any():
        return low, high
    size = _ROOM * np.abs(x).max(axis=0).astype(np.float64)
    return np.minimum(low, np.where(guessed, -size, least)), np.maximum(high, np.where(guessed, size, most))


def told(policy: Policy, first: int, x: Float32[np.ndarray, "n inputs"]) -> list[str]:
    """What the user should know of inputs of the first linear layer that stood still, or else hardly moved."""
    names = np.arange(x.shape[1])
    for layer in policy.layers[:first]:
        names = layer.indices.astype(np.int64) if isinstance(layer, layers.SelectInputs) else names
    low, high, guessed = range_of_inputs(policy, first, x)
    still = is_still(x)
    found = []
    if (known := still & ~guessed).any():
        found.append(
            f"{_listed(names[known])} stood still in calibration and keeps the range of the normalizer or the bounds"
        )
    if (unknown := still & guessed).any():
        ends = f"{low[unknown].min():.3g} to {high[unknown].max():.3g}"
        found.append(
            f"{_listed(names[unknown])} stood still in calibration: what it may be is guessed ({ends}); give "
            "observations in which it moves"
        )
    share = np.ptp(x, axis=0).astype(np.float64) / np.maximum(high - low, 1e-30)
    if not found and (narrow := ~guessed & (share < _NARROW)).any():
        least = int(np.argmin(np.where(narrow, share, np.inf)))
        found.append(
            f"{_listed(names[narrow])} moved in calibration over less than half of what the normalizer or the "
            f"bounds allow (input {names[least]} over {100 * share[least]:.2g} %): numbers beyond what was seen "
            "saturate; give observations that go as far as the policy may"
        )
    return found


def _listed(names: np.ndarray) -> str:
    shown = ", ".join(map(str, names[:12].tolist()))
    rest = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return f"input {shown}{rest}" if len(names) == 1 else f"each of the inputs {shown}{rest}"
