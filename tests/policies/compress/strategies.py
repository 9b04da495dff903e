"""Random recipes, and policies whose every layer compression understands."""

import itertools
from typing import Any, cast, get_args

import numpy as np
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from lilliput.policies import layers, spaces
from lilliput.policies.compress import (
    Equalize,
    FoldInputs,
    Half,
    PruneUnits,
    PruneWeights,
    Quantize,
    Recipe,
    RemoveDeadInputs,
    Source,
    Step,
)
from lilliput.policies.compress.prune_units import Importance
from lilliput.policies.layers import Layer
from lilliput.policies.policy import Policy

SOURCES: st.SearchStrategy[Source] = st.sampled_from(get_args(Source))


@st.composite
def quantizations(draw: st.DrawFn, *, sources: st.SearchStrategy[Source] = SOURCES, auto: bool = False) -> Quantize:
    """Any quantize step, with `auto` also one that gives out bits."""
    fields: dict[str, Any] = {
        "weight_bits": draw(st.integers(2, 8)),
        "scheme": draw(st.sampled_from(["dynamic", "static", "weight_only"])),
        "granularity": draw(st.sampled_from(["per_tensor", "per_channel"])),
        "calibration": draw(st.sampled_from(["minmax", "mse"])),
        "method": draw(st.sampled_from(["nearest", "gptq"])),
        "bias_correction": draw(st.booleans()),
    }
    if fields["scheme"] != "weight_only":
        fields["activation_bits"] = draw(st.integers(2, 8))
    if fields["scheme"] == "static":
        fields["calibration"] = draw(st.sampled_from(["minmax", "percentile", "mse"]))
        fields["input"] = draw(st.sampled_from(["per_tensor", "per_dimension", "every_dimension"]))
    if auto and draw(st.booleans()):
        fields |= {"weight_bits": "auto", "max_bytes": draw(st.integers(1, 20_000))}
    if fields["scheme"] == "static" or fields["bias_correction"] or fields["method"] == "gptq":
        fields["source"] = draw(sources)
        fields["observations"] = draw(st.integers(1, 5000))
    return Quantize(**fields)


@st.composite
def unit_prunings(draw: st.DrawFn, *, sources: st.SearchStrategy[Source] = SOURCES) -> PruneUnits:
    """Any prune_units step."""
    ratio = draw(st.floats(0, 1, exclude_max=True))
    importance: Importance = draw(st.sampled_from(get_args(Importance)))
    return PruneUnits(
        ratio, importance, draw(sources) if importance in ("activation", "optimal_brain_surgeon") else "on_policy"
    )


@st.composite
def weight_prunings(
    draw: st.DrawFn, *, importances: tuple[str, ...] = ("magnitude", "wanda", "sparsegpt")
) -> PruneWeights:
    """Any prune_weights step."""
    importance = draw(st.sampled_from(importances))
    scope = "layer" if importance == "sparsegpt" else draw(st.sampled_from(["layer", "global", "output"]))
    sparsity = draw(st.floats(0, 1, exclude_max=True))
    return PruneWeights(sparsity, cast(Any, scope), cast(Any, importance))


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    """Any recipe, also one that makes no sense."""
    steps: st.SearchStrategy[Step] = st.one_of(
        quantizations(auto=True),
        unit_prunings(),
        weight_prunings(),
        st.builds(RemoveDeadInputs),
        st.builds(FoldInputs, st.floats(0, 1)),
        st.just(Equalize()),
        st.just(Half()),
    )
    return tuple(draw(st.lists(steps, max_size=4)))


def f32(value: ArrayLike) -> np.ndarray:
    """The numbers as float32."""
    return np.asarray(value, np.float32)


def real(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Float32 numbers from N(0, 1)."""
    return rng.standard_normal(shape).astype(np.float32)


def unbounded(size: int) -> spaces.Box:
    """A vector of any numbers."""
    return spaces.Box((size,), f32(-np.inf), f32(np.inf))


def mlp(
    sizes: tuple[int, ...],
    rng: np.random.Generator,
    *,
    activation: Layer | None = None,
    front: tuple[Layer, ...] = (),
    has_bias: bool = True,
) -> Policy:
    """A policy of Dense layers of those sizes; its action is the last layer's output."""
    stack: list[Layer] = list(front)
    for index, (n_in, n_out) in enumerate(itertools.pairwise(sizes)):
        stack.append(
            layers.Dense(real(rng, n_out, n_in) / np.float32(np.sqrt(n_in)), real(rng, n_out) if has_bias else None)
        )
        if index < len(sizes) - 2:
            stack.append(activation or layers.Tanh())
    return Policy(unbounded(sizes[0]), unbounded(sizes[-1]), tuple(stack))


def image_policy(rng: np.random.Generator, *, padding: int = 0, n_actions: int = 3) -> Policy:
    """A small convolutional policy: two convolutions, Flatten, two Dense layers, argmax; images of (2, 9, 9)."""
    size = (9 + 2 * padding - 3) // 2 + 1
    size = size + 2 * padding - 2 + 1
    return Policy(
        spaces.Box((2, 9, 9), f32(0), f32(255), "uint8"),
        spaces.Discrete(n_actions),
        (
            layers.Standardize(f32(0), f32(1 / 255), f32(np.inf)),
            layers.Conv2d(real(rng, 6, 2, 3, 3) / 4, real(rng, 6) / 4, (2, 2), (padding, padding)),
            layers.Relu(),
            layers.Conv2d(real(rng, 5, 6, 2, 2) / 4, real(rng, 5) / 4, (1, 1), (padding, padding)),
            layers.Relu(),
            layers.Flatten(),
            layers.Dense(real(rng, 12, 5 * size * size) / 8, real(rng, 12)),
            layers.Relu(),
            layers.Dense(real(rng, n_actions, 12) / 4, real(rng, n_actions)),
            layers.ArgmaxAction((n_actions,)),
        ),
    )
