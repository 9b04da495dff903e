"""A policy of images that plays the toy environment Bright perfectly, made by hand."""

import numpy as np
from tests.policies.learn import toys  # noqa: F401  (registers it)

from lilliput.policies import layers, spaces
from lilliput.policies.policy import Policy, Provenance

BRIGHT = "Bright-v0"


def bright(n: int = 4, m: int = 6) -> Policy:
    """Two convolutions of n and m channels that average, and a choice by whether the image is brighter than 115."""
    mean, scale = np.zeros((), np.float32), np.array(1 / 255, np.float32)
    first = layers.Conv2d(np.full((n, 1, 8, 8), 1 / 64, np.float32), np.zeros(n, np.float32), (4, 4))
    second = layers.Conv2d(np.full((m, n, 4, 4), 1 / n / 16, np.float32), np.zeros(m, np.float32), (2, 2))
    last = np.outer([-1.0, 1.0], np.full(9 * m, 1 / 9 / m)).astype(np.float32)
    return Policy(
        spaces.Box((1, 36, 36), np.zeros((1, 36, 36)), np.full((1, 36, 36), 255.0), "uint8"),
        spaces.Discrete(2),
        (
            layers.Standardize(mean, scale, np.array(np.inf, np.float32)),
            first, layers.Relu(), second, layers.Relu(), layers.Flatten(),
            layers.Dense(last, np.array([0.45, -0.45], np.float32)), layers.ArgmaxAction((2,)),
        ),
        Provenance(wrappers=("transpose_image",)),
    )  # fmt: skip


SWITCHES = "Switches-v0"


def switches() -> Policy:
    """Plays a board of switches, which is no image: one vector from the first layer on."""
    board = spaces.Box((4, 4, 2), np.zeros((4, 4, 2)), np.ones((4, 4, 2)), "bool")
    weight = np.zeros((2, 32), np.float32)
    weight[1, 0], bias = 1.0, np.array([0.5, 0.0], np.float32)
    return Policy(board, spaces.Discrete(2), (layers.Flatten(), layers.Dense(weight, bias), layers.ArgmaxAction((2,))))
