"""Least squares on observations: what a linear layer gets, what it should give, and the weights that come nearest."""

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float, Float64

from lilliput.policies import layers
from lilliput.policies.compress import cholesky
from lilliput.sums import exact_products, products

MAX_SAMPLES = 1 << 14
"""Windows of images that are looked at; a policy on vectors has as many samples as observations."""

DAMPING = 1e-4
"""Of the mean diagonal, added to it: what the observations do not say stays as it was."""

SHRINKAGE = 0.03
"""The same for each column a sample: few samples of many inputs say little."""

Linear = layers.Linear


@final
@dataclass(frozen=True, eq=False)
class Moments:
    """Means, the inputs' covariance (damped) and their covariance with the error that is to be made good.

    Attributes:
        x_mean: of the inputs.
        y_mean: of the wanted outputs.
        hessian: covariance of the inputs.
        cross: covariance of the outputs that the weights miss and the inputs.
    """

    x_mean: Float64[np.ndarray, " columns"]
    y_mean: Float64[np.ndarray, " rows"]
    hessian: Float64[np.ndarray, "columns columns"]
    cross: Float64[np.ndarray, "rows columns"]


def moments(
    x: Float[np.ndarray, "n columns"],
    y: Float[np.ndarray, "n rows"],
    weight: Float64[np.ndarray, "rows columns"],
    *,
    centred: bool = True,
) -> Moments:
    """The moments of samples for a layer of those weights; not centred where its bias cannot change."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    x_mean = x.mean(axis=0) if centred else np.zeros(x.shape[1])
    y_mean = y.mean(axis=0) if centred else np.zeros(y.shape[1])
    x, y = x - x_mean, y - y_mean
    covariance = exact_products(x.T, x.T) / len(x)
    diagonal = np.diag(covariance)
    share = DAMPING + SHRINKAGE * x.shape[1] / len(x)
    damping = share * diagonal.mean() if diagonal.any() else 1.0
    cross = exact_products((y - exact_products(x, weight)).T, x.T) / len(x)
    return Moments(x_mean, y_mean, covariance + damping * np.eye(len(covariance)), cross)


def refitted(
    moments: Moments, weight: Float64[np.ndarray, "rows columns"]
) -> tuple[Float64[np.ndarray, "rows columns"], Float64[np.ndarray, " rows"]]:
    """The weights and the bias of least squared error, near the given weights where the samples do not decide."""
    new = weight + cholesky.solve(moments.hessian, moments.cross.T).T
    return new, moments.y_mean - products(new, moments.x_mean[None])[:, 0]


def samples(layer: Linear, x: Float[np.ndarray, "n ..."], padding: float = 0.0) -> Float[np.ndarray, "samples columns"]:
    """The inputs of a linear layer as rows that its weights, one row an output, are multiplied with."""
    if isinstance(layer, layers.Dense | layers.QuantizedDense):
        return x
    (pad_y, pad_x), (step_y, step_x) = layer.padding, layer.stride
    padded = np.pad(x, ((0, 0), (0, 0), (pad_y, pad_y), (pad_x, pad_x)), constant_values=padding)
    windows = np.lib.stride_tricks.sliding_window_view(padded, layer.weight.shape[2:], axis=(2, 3))
    windows = windows[:, :, ::step_y, ::step_x].transpose(0, 2, 3, 1, 4, 5)
    chosen = _spread(windows.shape[0] * windows.shape[1] * windows.shape[2])
    n, row, column = np.unravel_index(chosen, windows.shape[:3])
    return windows[n, row, column].reshape(len(chosen), -1)


def outputs(y: Float[np.ndarray, "n ..."]) -> Float[np.ndarray, "samples rows"]:
    """The outputs of the same samples."""
    if y.ndim == 2:
        return y
    by_place = y.transpose(0, 2, 3, 1).reshape(-1, y.shape[1])
    return by_place[_spread(len(by_place))]


def _spread(n: int) -> np.ndarray:
    return np.linspace(0, n - 1, min(n, MAX_SAMPLES)).astype(np.int64)
