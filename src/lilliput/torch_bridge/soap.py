"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner (Vyas et al. 2024, arXiv:2409.11321), of many networks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor


@final
@dataclass(eq=False)
class _State:
    first: Tensor
    second: Tensor
    left: Tensor
    right: Tensor
    left_basis: Tensor
    right_basis: Tensor


@final
class Soap:
    """The optimizer of matrices (networks, rows, columns), each network's alone: a batch is as many separate runs."""

    def __init__(
        self, parameters: Sequence[Tensor], *, beta: float = 0.95, epsilon: float = 1e-8, frequency: int = 10
    ) -> None:
        self.parameters = list(parameters)
        self.beta, self.epsilon, self.frequency = beta, epsilon, frequency
        self.n_steps = 0
        self._states: list[_State] = []

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Nothing; one step down the gradients, which are then forgotten. The first only looks at the curvature."""
        gradients = [_gradient(parameter) for parameter in self.parameters]
        if not self._states:
            self._states = [_first_state(gradient) for gradient in gradients]
            return
        self.n_steps += 1
        correction = 1 - self.beta**self.n_steps
        for parameter, gradient, state in zip(self.parameters, gradients, self._states, strict=True):
            state.first.lerp_(gradient, 1 - self.beta)
            rotated = state.left_basis.mT @ gradient @ state.right_basis
            state.second.mul_(self.beta).addcmul_(rotated, rotated, value=1 - self.beta)
            momentum = state.left_basis.mT @ state.first @ state.right_basis / correction
            direction = momentum / ((state.second / correction).sqrt_().add_(self.epsilon))
            parameter.sub_(state.left_basis @ direction @ state.right_basis.mT, alpha=learning_rate)
            state.left.lerp_(gradient @ gradient.mT, 1 - self.beta)
            state.right.lerp_(gradient.mT @ gradient, 1 - self.beta)
            if self.n_steps % self.frequency == 0:
                _turn(state)


def _gradient(parameter: Tensor) -> Tensor:
    gradient = parameter.grad
    assert gradient is not None
    parameter.grad = None
    return gradient


def _first_state(gradient: Tensor) -> _State:
    left, right = gradient @ gradient.mT, gradient.mT @ gradient
    # eigh fails on what is not finite; a gradient that is not is caught by the loss, which is checked each round.
    return _State(
        first=torch.zeros_like(gradient),
        second=torch.zeros_like(gradient),
        left=left,
        right=right,
        left_basis=_eigenvectors(left),
        right_basis=_eigenvectors(right),
    )


def _eigenvectors(matrix: Tensor) -> Tensor:
    """Those of large eigenvalues first; in float32 it fails on a small rank, such as that of a narrow last layer."""
    return torch.linalg.eigh(matrix.double())[1].flip(-1).to(matrix.dtype).contiguous()


def _turn(state: _State) -> None:
    """Nothing; one power iteration turns each basis towards the eigenvectors; the second moment is sorted along."""
    state.left_basis, order = _improved(state.left, state.left_basis)
    state.second = torch.take_along_dim(state.second, order[:, :, None], dim=1)
    state.right_basis, order = _improved(state.right, state.right_basis)
    state.second = torch.take_along_dim(state.second, order[:, None, :], dim=2)


def _improved(matrix: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    product = matrix @ basis
    order = torch.argsort((basis * product).sum(dim=-2), dim=-1, descending=True)
    product = torch.take_along_dim(product, order[:, None, :], dim=-1)
    return torch.linalg.qr(product)[0], order
