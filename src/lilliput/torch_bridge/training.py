"""Training of students on what a teacher said: the replay of states, the losses behind the head, the learning rates."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Literal, assert_never, final

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from lilliput import layers
from lilliput.errors import LilliputError
from lilliput.layers import Layer
from lilliput.torch_bridge.soap import Soap
from lilliput.torch_bridge.students import Students

Loss = Literal["l2", "l1", "kl", "cross_entropy", "regret"]
"""`l2`, `l1`: of actions in units of their spread, or of the values behind a choice in units of the usual gap between
the two best; of a choice also `kl`: the distance of the softmaxes; `cross_entropy`: of the teacher's choice; `regret`:
what the student's softmax loses of the teacher's values."""

_SCALE_RATE = 0.1
"""The learning rate of step sizes and ranges over that of weights; they are logarithms."""


@final
class Replay:
    """Every state seen so far with what the teacher said there."""

    def __init__(self, inputs: int, outputs: int) -> None:
        self._x = torch.empty((0, inputs))
        self._y = torch.empty((0, outputs))
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def add(self, x: Float32[np.ndarray, "n inputs"], y: Float32[np.ndarray, "n outputs"]) -> None:
        """Nothing; keeps more states."""
        n = self._n + len(x)
        if n > len(self._x):
            self._x, self._y = _grown(self._x, self._n, n), _grown(self._y, self._n, n)
        self._x[self._n : n] = torch.from_numpy(x)
        self._y[self._n : n] = torch.from_numpy(y)
        self._n = n

    def sample(self, restarts: int, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A batch for every restart."""
        rows = torch.randint(self._n, (restarts * batch,), generator=generator)
        x, y = self._x.index_select(0, rows), self._y.index_select(0, rows)
        return x.view(restarts, batch, -1), y.view(restarts, batch, -1)

    @property
    def observations(self) -> Tensor:
        """All observations."""
        return self._x[: self._n]

    @property
    def targets(self) -> Tensor:
        """All that the teacher said."""
        return self._y[: self._n]


def _grown(old: Tensor, used: int, n: int) -> Tensor:
    new = torch.empty((max(n, 2 * len(old)), old.shape[1]))
    new[:used] = old[:used]
    return new


@final
class Trainer:
    """Trains students on a replay; one for the real ones, another for the quantized ones."""

    def __init__(self, students: Students, head: Sequence[Layer], loss: Loss, targets: Tensor, seed: int) -> None:
        self.students = students
        self._loss: Loss = loss
        self._head = tuple(_torch_head(layer) for layer in head)
        self._generator = torch.Generator().manual_seed(seed)
        discrete = isinstance(head[-1], layers.ArgmaxAction) if head else False
        if not discrete and loss not in ("l2", "l1"):
            raise LilliputError(f"distill: loss {loss!r} is for choices; the action is an array: allowed: l2, l1")
        if discrete:
            assert isinstance(head[-1], layers.ArgmaxAction)
            self._sizes: tuple[int, ...] = head[-1].sizes
            gaps = torch.cat([_gap(group) for group in torch.split(targets, list(self._sizes), dim=-1)])
            self._unit = gaps.median().clamp(min=1e-6)
        else:
            self._sizes = ()
            spread = targets.std(dim=0)
            self._unit = torch.where(spread > 1e-6, spread, torch.ones_like(spread)).mean()
        self._soap = Soap(students.matrices)
        self._scales = torch.optim.Adam(students.scales, betas=(0.9, 0.99), fused=True) if students.scales else None

    def run(
        self, replay: Replay, n_steps: int, *, batch: int, done: int, total: int, learning_rate: float
    ) -> Float32[np.ndarray, " restarts"]:
        """The mean loss of each restart over so many steps, at a rate that follows a cosine from `done` to `total`.

        Raises:
            LilliputError: a loss is not finite.
        """
        sums = torch.zeros(self.students.restarts)
        for step in range(n_steps):
            rate = learning_rate * (0.5 + 0.5 * math.cos(math.pi * min(1.0, (done + step) / total))) + 1e-5
            x, y = replay.sample(self.students.restarts, batch, self._generator)
            losses = self.loss(self.students.forward(x), y)
            losses.sum().backward()
            sums += losses.detach()
            if self._scales is not None:
                for group in self._scales.param_groups:
                    group["lr"] = rate * _SCALE_RATE
                self._scales.step()
                self._scales.zero_grad()
            self._soap.step(rate)
        means = (sums / max(n_steps, 1)).numpy()
        if not np.isfinite(means).all():
            raise LilliputError("distill: the loss is not finite; lower learning_rate")
        return means

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of each restart for outputs before the head (restarts, n, outputs)."""
        if not self._sizes:
            for head in self._head:
                outputs = head(outputs)
            return _distance(self._loss, (outputs - targets) / self._unit)
        total = torch.zeros(outputs.shape[0])
        groups = zip(
            torch.split(outputs, list(self._sizes), dim=-1),
            torch.split(targets, list(self._sizes), dim=-1),
            strict=True,
        )
        for student, teacher in groups:
            total = total + self._choice(student, teacher / self._unit)
        return total

    def _choice(self, student: Tensor, teacher: Tensor) -> Tensor:
        match self._loss:
            case "l2" | "l1":
                return _distance(self._loss, _centred(student) - _centred(teacher))
            case "kl":
                likely = torch.softmax(2 * teacher, dim=-1)
                return -(likely * torch.log_softmax(student, dim=-1)).sum(dim=-1).mean(dim=-1)
            case "cross_entropy":
                choice = teacher.argmax(dim=-1, keepdim=True)
                return -torch.log_softmax(student, dim=-1).gather(-1, choice).mean(dim=(-1, -2))
            case "regret":
                lost = (teacher.amax(dim=-1, keepdim=True) - teacher).clamp(max=5.0)
                return (torch.softmax(student, dim=-1) * lost).sum(dim=-1).mean(dim=-1)
            case _:
                assert_never(self._loss)


def _gap(values: Tensor) -> Tensor:
    """How much better the best value is than the second."""
    best = torch.topk(values, min(2, values.shape[-1]), dim=-1).values
    return best[:, 0] - best[:, -1]


def _centred(x: Tensor) -> Tensor:
    return x - x.mean(dim=-1, keepdim=True)


def _distance(loss: Loss, x: Tensor) -> Tensor:
    return (x.abs() if loss == "l1" else x * x).mean(dim=(-1, -2))


@final
class _Squash:
    def __call__(self, x: Tensor) -> Tensor:
        return torch.tanh(x)


@final
class _Rescale:
    def __init__(self, layer: layers.RescaleAction) -> None:
        self._scale, self._offset = _tensor(layer.scale), _tensor(layer.offset)

    def __call__(self, x: Tensor) -> Tensor:
        return x * self._scale + self._offset


@final
class _Clip:
    def __init__(self, layer: layers.ClipAction) -> None:
        self._low, self._high = _tensor(layer.low), _tensor(layer.high)

    def __call__(self, x: Tensor) -> Tensor:
        # The gradient passes: where both sides clip there is nothing to learn, elsewhere it leads back inside.
        return x + (torch.clamp(x, self._low, self._high) - x).detach()


def _torch_head(layer: Layer) -> _Squash | _Rescale | _Clip:
    match layer:
        case layers.SquashAction():
            return _Squash()
        case layers.RescaleAction():
            return _Rescale(layer)
        case layers.ClipAction():
            return _Clip(layer)
        case layers.ArgmaxAction():
            return _Squash()  # never applied: a choice is learned from the values before it
        case _:
            raise LilliputError(f"distill: {type(layer).__name__} is no head of a policy")


def _tensor(array: np.ndarray) -> Tensor:
    return torch.tensor(array.astype(np.float32))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Within it torch uses one core: the matrices are too small to share, and other processes need the other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
