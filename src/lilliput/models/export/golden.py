"""Golden answers: a few inputs with what the model answered to them, kept beside an artifact."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lilliput.errors import LilliputError
from lilliput.models.images import Picture
from lilliput.models.model import Model, Port, not_finite

GOLDEN = "golden.npz"

_SIZES = {"batch": 2, "tokens": 16, "height": 32, "width": 32}
"""Of axes that may have any size."""


def golden_feeds(model: Model) -> dict[str, np.ndarray]:
    """Inputs that reach every part of the model: random tokens, or random numbers from 0 to 1; the same each time."""
    rng = np.random.default_rng(0)
    n_tokens = 2 if model.tokenizer is None else model.tokenizer.n_tokens
    return {port.name: _some(port, _shape(port, model.picture), n_tokens, rng) for port in model.inputs}


def _shape(port: Port, picture: Picture | None) -> tuple[int, ...]:
    """Axes of any size by their names, as exporters give them; of a picture by the size that it is asked with."""
    sizes = list(port.axes)
    if len(sizes) in (3, 4) and picture is not None and picture.size is not None:
        for at in (-2, -1) if picture.layout == "channels_first" else (1, 2):
            sizes[at] = picture.size if isinstance(sizes[at], str) else sizes[at]
    return tuple(axis if isinstance(axis, int) else _SIZES.get(axis, 2) for axis in sizes)


def _some(port: Port, shape: tuple[int, ...], n_tokens: int, rng: np.random.Generator) -> np.ndarray:
    if np.dtype(port.dtype).kind in "iu":
        return rng.integers(0, n_tokens, shape).astype(port.dtype)
    return rng.random(shape).astype(port.dtype)


def write_golden(folder: Path, feeds: Mapping[str, np.ndarray], answers: Mapping[str, np.ndarray]) -> None:
    """Write inputs and answers.

    Raises:
        LilliputError: an answer is not a number.
    """
    for name, answer in answers.items():
        if not np.isfinite(answer).all():
            raise not_finite(f"{name} is, on its golden inputs,")
    arrays: dict[str, Any] = {f"input.{name}": array for name, array in feeds.items()}
    np.savez(
        folder / GOLDEN, allow_pickle=False, **arrays, **{f"output.{name}": array for name, array in answers.items()}
    )


def read_golden(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The inputs and the answers that `write_golden` wrote.

    Raises:
        LilliputError: they are not there, or damaged.
    """
    try:
        with np.load(folder / GOLDEN, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
    except (OSError, ValueError, EOFError) as error:
        raise LilliputError(f"{folder / GOLDEN} cannot be read: {str(error)[:80]}") from error
    inputs = {name.removeprefix("input."): array for name, array in arrays.items() if name.startswith("input.")}
    outputs = {name.removeprefix("output."): array for name, array in arrays.items() if name.startswith("output.")}
    return inputs, outputs


def largest_difference(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> float:
    """The largest difference of two answers, as a part of the first's largest number; infinite where shapes differ, or
    one is not a number.
    """
    if set(one) != set(other) or any(one[name].shape != other[name].shape for name in one):
        return float("inf")
    largest = 0.0
    for name, answer in one.items():
        missed = np.abs(answer - other[name]).max(initial=0)
        if not np.isfinite(missed):
            return float("inf")
        largest = max(largest, float(missed) / max(float(np.abs(answer).max(initial=0)), 1e-12))
    return largest
