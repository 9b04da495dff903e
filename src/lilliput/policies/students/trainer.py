"""Training of students on what a teacher said: the replay of states, the losses behind the head, the learning rates."""

import ctypes
from collections.abc import Sequence
from typing import Any, Literal, final, get_args

import numpy as np
from jaxtyping import Float32

from lilliput.errors import LilliputError
from lilliput.policies import layers
from lilliput.policies.layers import Layer
from lilliput.policies.students.native import Objective, functions, pointer
from lilliput.policies.students.soap import begun
from lilliput.policies.students.students import Students

Loss = Literal["l2", "l1", "kl", "cross_entropy", "regret"]
"""`l2`, `l1`: of actions in units of their spread, or of the values behind a choice in units of the usual gap between
the two best. `kl`: the divergence of the policies that drew actions in training: of the softmaxes of a choice, of the
normal distributions of an array, which is `l2` in units of their spread. `regret`: what is lost of the teacher's
values: by the student's softmax, or by an array, whose squared errors count by what they cost in that state.
`cross_entropy`: of the teacher's choice."""

_LAST_RATE = 1e-5
_LEAST_COST, _MOST_COST = 0.1, 10.0
"""What an error costs is taken to be so many times the usual at least and at most: a critic knows what was played."""


@final
class Replay:
    """Every state seen so far with what the teacher said there."""

    def __init__(self, inputs: int, outputs: int) -> None:
        self._x = np.empty((0, inputs), np.float32)
        self._y = np.empty((0, outputs), np.float32)
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def add(self, x: Float32[np.ndarray, "n inputs"], y: Float32[np.ndarray, "n outputs"]) -> None:
        """Keep more states."""
        n = self._n + len(x)
        if n > len(self._x):
            self._x, self._y = _grown(self._x, self._n, n), _grown(self._y, self._n, n)
        self._x[self._n : n] = x
        self._y[self._n : n] = y
        self._n = n

    @property
    def observations(self) -> Float32[np.ndarray, "n inputs"]:
        """All observations."""
        return self._x[: self._n]

    @property
    def targets(self) -> Float32[np.ndarray, "n outputs"]:
        """All that the teacher said."""
        return self._y[: self._n]


def _grown(old: np.ndarray, used: int, n: int) -> np.ndarray:
    new = np.empty((max(n, 2 * len(old)), old.shape[1]), np.float32)
    new[:used] = old[:used]
    return new


@final
class Aim:
    """A loss behind the head of the outputs of some network, and what it is measured by.

    Args:
        n: outputs of the network.
        targets: what the teacher said; for `regret` of an array, behind it what an error of each action costs.
        action_std: the spread of the teacher's actions in training, for `kl` of an array.
    """

    def __init__(
        self,
        n: int,
        head: Sequence[Layer],
        loss: Loss,
        targets: Float32[np.ndarray, "n said"],
        action_std: Sequence[float],
    ) -> None:
        discrete = isinstance(head[-1], layers.ArgmaxAction) if head else False
        if not discrete and loss == "cross_entropy":
            raise LilliputError("distill: loss 'cross_entropy' is for choices; allowed: l2, l1, kl, regret")
        if not discrete and loss == "kl" and not action_std:
            raise LilliputError("distill: loss 'kl' needs the spread of the teacher's actions; its file has none")
        self._n = n
        said, costs = targets[:, :n], targets[:, n:]
        self._least_cost, self._most_cost = 1.0, 1.0
        shape: list[tuple[int, Any, Any]] = []
        groups: tuple[int, ...] = ()
        if discrete:
            assert isinstance(head[-1], layers.ArgmaxAction)
            groups = head[-1].sizes
            ends = np.cumsum(groups)[:-1]
            unit = np.median(np.concatenate([_gap(group) for group in np.split(said, ends, axis=1)])).clip(1e-6)
            self._unit = np.full(n, unit, np.float32)
        else:
            shape = [_shaping(layer) for layer in head]
            spread = said.std(axis=0)
            unit = np.where(spread > 1e-6, spread, 1).mean()
            drawn = np.array(action_std) if loss == "kl" else np.ones(n)
            if loss == "regret":
                usual = float(np.maximum(costs, 0).mean(dtype=np.float64).clip(1e-12))
                self._least_cost, self._most_cost = _LEAST_COST * usual, _MOST_COST * usual
                unit *= np.sqrt(usual)
            self._unit = (unit * drawn * np.sqrt(np.mean(drawn**-2))).astype(np.float32)
        self._head = np.array([kind for kind, _, _ in shape], np.int32)
        self._first, self._second = (
            np.array([np.broadcast_to(step[k], n) for step in shape], np.float32) for k in (1, 2)
        )
        self._groups = np.array(groups, np.int32)
        # The divergence of two normal distributions of one spread is a square.
        self._kind = get_args(Loss).index("l2" if loss == "kl" and not discrete else loss)

    def objective(self) -> Objective:
        """What C is told of it; it points into the aim."""
        arrays = (self._unit, self._head, self._first, self._second, self._groups)
        sizes = (self._kind, len(self._head), len(self._groups))
        return Objective(*sizes, self._least_cost, self._most_cost, *(pointer(array) for array in arrays))

    def gradient(
        self, y: Float32[np.ndarray, "n outputs"], targets: Float32[np.ndarray, "n said"]
    ) -> tuple[float, Float32[np.ndarray, "n outputs"]]:
        """The mean loss of these outputs, and its gradient."""
        found, wanted = (np.array(one.T, np.float32, order="C") for one in (y, targets))
        slope = np.empty(len(y), np.float32)
        objective = self.objective()
        given = (ctypes.byref(objective), self._n, pointer(found), pointer(wanted), len(y), pointer(slope))
        return float(functions().loss(*given)), found.T


@final
class Trainer:
    """Trains students on a replay; one for the real ones, another for the quantized ones; see `Aim`."""

    def __init__(
        self,
        students: Students,
        head: Sequence[Layer],
        loss: Loss,
        targets: Float32[np.ndarray, "n said"],
        action_std: Sequence[float],
        rng: np.random.Generator,
    ) -> None:
        self.students = students
        self._rng = rng
        self._functions = functions()
        self._aim = Aim(students.sizes[-1], head, loss, targets, action_std)
        self._soap: np.ndarray | None = None
        self._adam = np.zeros((students.restarts, 2 * students.scales.shape[1]), np.float32)
        self._done = 0

    def run(
        self, replay: Replay, n_steps: int, *, batch: int, done: int, total: int, learning_rate: float
    ) -> Float32[np.ndarray, " restarts"]:
        """The mean loss of each restart over so many steps, at a rate that follows a cosine from `done` to `total`.

        Raises:
            LilliputError: a loss is not finite.
        """
        students = self.students
        network, objective = students.network_of(), self._aim.objective()
        scratch = students.scratch(network, batch)
        x, targets = replay.observations, replay.targets
        steps = np.minimum(1.0, (done + np.arange(n_steps)) / total)
        rates = (learning_rate * (0.5 + 0.5 * np.cos(np.pi * steps)) + _LAST_RATE).astype(np.float32)
        means = np.zeros(students.restarts, np.float32)
        rows = self._rng.integers(0, len(replay), (students.restarts, n_steps, batch))
        if self._soap is None:
            self._soap = self._begun(x, targets, rows[0, 0])
        for restart in range(students.restarts):
            means[restart] = self._functions.train(
                ctypes.byref(network), ctypes.byref(objective), ctypes.byref(students.student(restart)),
                pointer(self._soap[restart]), pointer(self._adam[restart]), pointer(x), pointer(targets),
                pointer(rows[restart]), batch, pointer(rates), self._done, n_steps, pointer(scratch),
            )  # fmt: skip
        self._done += n_steps
        if not np.isfinite(means).all():
            raise LilliputError("distill: the loss is not finite; lower learning_rate")
        return means

    def gradient(
        self, x: Float32[np.ndarray, "n inputs"], targets: Float32[np.ndarray, "n outputs"]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The loss of each restart on the same observations; its gradients as the students' matrices and scales."""
        students, n = self.students, len(x)
        network, objective = students.network_of(), self._aim.objective()
        scratch, rows = students.scratch(network, n), np.arange(n)
        x, targets = np.ascontiguousarray(x), np.ascontiguousarray(targets)
        of_matrices, of_scales = np.zeros_like(students.matrices), np.zeros_like(students.scales)
        losses = np.zeros(students.restarts)
        for restart in range(students.restarts):
            losses[restart] = self._functions.gradient(
                ctypes.byref(network), ctypes.byref(objective), ctypes.byref(students.student(restart)), pointer(x),
                pointer(targets), pointer(rows), n, pointer(scratch), pointer(of_matrices[restart]),
                pointer(of_scales[restart]),
            )  # fmt: skip
        return losses, of_matrices, of_scales

    def _begun(self, x: np.ndarray, targets: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """What SOAP starts from (restarts, n): the curvature that a first gradient sees, and its eigenvectors."""
        gradient = self.gradient(x[rows], targets[rows])[1]
        if not np.isfinite(gradient).all():
            raise LilliputError("distill: the loss is not finite; lower learning_rate")
        return np.concatenate([begun(matrix) for matrix in self.students.layers_of(gradient)], axis=1)


def _gap(values: np.ndarray) -> np.ndarray:
    """How much better the best value is than the second."""
    ordered = np.sort(values, axis=1)
    return ordered[:, -1] - ordered[:, max(-2, -values.shape[1])]


def _shaping(layer: Layer) -> tuple[int, Any, Any]:
    match layer:
        case layers.SquashAction():
            return 0, 0.0, 0.0
        case layers.RescaleAction():
            return 1, layer.scale, layer.offset
        case layers.ClipAction():
            return 2, layer.low, layer.high
        case _:
            raise LilliputError(f"distill: {type(layer).__name__} is no head of a policy")


def cut(part: float, first: float = 0.2, last: float = 0.8) -> float:
    """How far the sparsity has risen, of 1, after that part of a training: as the cube, the fastest at first.

    Weights are cut between two parts of the training (Zhu and Gupta 2017, arXiv:1710.01878, equation 1).
    """
    along = (part - first) / (last - first)
    return 1 - (1 - min(1.0, max(0.0, along))) ** 3
