"""The Frechet distance of two sets of pictures, by what is seen of each: of all, and under weights of a bootstrap.

Heusel et al. 2017, arXiv 1706.08500, equation 6; the features are not Inception's unless such a graph is named.
"""

import numpy as np
from jaxtyping import Float64, UInt8

from lilliput.errors import LilliputError
from lilliput.models.load import load_model
from lilliput.models.picture import batch_of, picture_of, picture_port, size_of
from lilliput.models.session import open_session

EDGE = 8
"""Pixels along an edge that are compared where no graph sees more."""

Features = Float64[np.ndarray, "_ features"]
Weights = Float64[np.ndarray, "draws _"]
Moments = tuple[Float64[np.ndarray, " features"], Float64[np.ndarray, "features features"]]


def features(images: UInt8[np.ndarray, "n height width 3"], graph: str) -> Features:
    """What a graph gives for each picture; without one, its pixels, averaged down to at most 8 x 8."""
    if graph:
        model = load_model(graph)
        session, picture, size, port = open_session(model), picture_of(model), size_of(model), picture_port(model)
        found = []
        for start in range(0, len(images), batch_of(model)):
            some = np.stack([picture.seen(one, size) for one in images[start : start + batch_of(model)]])
            found.append(session.answer({port.name: some})[model.outputs[0].name].reshape(len(some), -1))
        return np.concatenate(found).astype(np.float64)
    n, height, width, _ = images.shape
    for axis, edge in ((1, height), (2, width)):
        starts = (np.arange(min(edge, EDGE)) * edge) // min(edge, EDGE)
        sizes = np.diff(np.append(starts, edge)).reshape(tuple(-1 if at == axis else 1 for at in range(4)))
        images = np.add.reduceat(images.astype(np.float64), starts, axis=axis) / sizes
    gray = (images[..., :1] == images).all()
    return (images[..., :1] if gray else images).reshape(n, -1) / 255


def distances(
    made: Features, real: Features, found_weights: Weights, real_weights: Weights
) -> Float64[np.ndarray, " _"]:
    """The squared distance under each draw of weights, which say how often a picture counts."""
    if made.shape[1] != real.shape[1]:
        raise LilliputError(f"{made.shape[1]} features of what is made and {real.shape[1]} of what is real")
    pairs = zip(found_weights, real_weights, strict=True)
    return np.array([distance(moments(made, ours), moments(real, theirs)) for ours, theirs in pairs])


def moments(seen: Features, weights: Float64[np.ndarray, " n"]) -> Moments:
    """Mean and covariance, each row counted as often as its weight says."""
    mean = weights @ seen / weights.sum()
    away = seen - mean
    return mean, (away.T * weights) @ away / (weights.sum() - 1)


def distance(one: Moments, other: Moments) -> float:
    """|m - n|^2 + trace(C + D - 2 (C D)^(1/2))."""
    root = _root(one[1])
    # C D and C^(1/2) D C^(1/2) have the same eigenvalues, and the latter is symmetric.
    shared = np.sqrt(np.clip(np.linalg.eigvalsh(root @ other[1] @ root), 0, None)).sum()
    away = one[0] - other[0]
    return float(away @ away + np.trace(one[1]) + np.trace(other[1]) - 2 * shared)


def _root(matrix: Float64[np.ndarray, "n n"]) -> Float64[np.ndarray, "n n"]:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
