"""SOAP (Vyas et al. 2024, arXiv:2409.11321) on matrices, as `c/soap.h` computes it."""

from collections.abc import Sequence
from typing import final

import numpy as np
from jaxtyping import Float32

from lilliput.policies.students.native import functions, pointer


def begun(gradient: Float32[np.ndarray, "k rows columns"]) -> Float32[np.ndarray, "k n"]:
    """What SOAP starts from for k matrices: the curvature that a first gradient sees, and its eigenvectors."""
    width, transposed = functions().vector_floats(), gradient.swapaxes(1, 2)
    parts = [np.zeros_like(gradient), np.zeros_like(gradient)]
    for second, both in ((gradient @ transposed, False), (transposed @ gradient, True)):
        # In float32 eigh fails on a small rank, such as that of a narrow last layer.
        vectors = np.linalg.eigh(second.astype(np.float64))[1][:, :, ::-1]
        parts += [second, vectors.swapaxes(1, 2), *([vectors] if both else [])]
    padded = (np.pad(part, ((0, 0), (0, 0), (0, -part.shape[2] % width))) for part in parts)
    return np.concatenate([part.reshape(len(part), -1) for part in padded], axis=1).astype(np.float32)


@final
class Soap:
    """Moves matrices down their gradients, in place."""

    def __init__(self) -> None:
        self._states: list[np.ndarray] = []
        self._done = 0

    def step(self, matrices: Sequence[np.ndarray], gradients: Sequence[np.ndarray], rate: float) -> None:
        """One step of them all; each time the same ones."""
        self._done += 1
        c = functions()
        width = c.vector_floats()
        if not self._states:
            self._states = [begun(gradient[None])[0] for gradient in gradients]
        for matrix, gradient, state in zip(matrices, gradients, self._states, strict=True):
            m, n = matrix.shape
            padded = np.pad(gradient, ((0, 0), (0, -n % width)))
            scratch = np.empty(c.soap_scratch_floats(m, n), np.float32)
            c.soap(*map(pointer, (state, matrix, padded)), m, n, rate, self._done, pointer(scratch))
