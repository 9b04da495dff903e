"""Gradients held against torch's autograd; the optimizer against the paper's equations in numpy and torch's Adam."""

import itertools
from typing import Any

import numpy as np
import pytest
from tests.arrays import f32
from tests.policies.students.samples import N_INPUTS, observations

from lilliput.errors import LilliputError
from lilliput.policies import layers
from lilliput.policies.layers import Layer
from lilliput.policies.students import Activation, Inputs, Loss, Quantization, Replay, Students, Trainer

N_OUTPUTS, RESTARTS = 5, 2
ARRAY: tuple[Layer, ...] = (
    layers.SquashAction(),
    layers.RescaleAction(f32(2), np.linspace(-0.5, 0.5, N_OUTPUTS, dtype=np.float32)),
    layers.ClipAction(f32(-1), f32(1)),
)
CHOICES: tuple[Layer, ...] = (layers.ArgmaxAction((2, 3)),)


def quantities(
    quantization: Quantization | None, activation: Activation = "silu", epsilons: tuple[float, ...] = ()
) -> tuple[Students, np.ndarray]:
    rng = np.random.default_rng(11)
    x = observations(rng)
    students = Students((N_INPUTS, 6, 4, N_OUTPUTS), activation, RESTARTS, Inputs.of(x), rng, epsilons)
    students.scales[:] += 0.4 * rng.standard_normal(students.scales.shape)
    if quantization is not None:
        students.quantize(quantization, x[:1000])
    return students, x[:250]


def torch_outputs(students: Students, restart: int, matrices: Any, scales: Any, x: np.ndarray) -> Any:
    """What a student computes, in torch's operations: roundings pass the gradient, clamps stop it."""
    torch = pytest.importorskip("torch")
    functions = {"silu": torch.nn.functional.silu, "relu": torch.relu, "tanh": torch.tanh}
    lowest = {"silu": -0.27846, "relu": 0.0, "tanh": -1.0}[students.activation]
    inputs, quantization = students.inputs, students.quantization
    centre, scale = (torch.tensor(a, dtype=torch.float32) for a in (inputs.centre, inputs.scale))

    def straight(value: Any, rounded: Any) -> Any:
        return value + (rounded - value).detach()

    def half(value: Any) -> Any:
        return straight(value, value.half().float())

    sizes = students.sizes
    y, at = torch.tensor(x), 0
    if quantization is None:
        low, high = ((torch.tensor(end, dtype=torch.float32) - centre) * scale for end in (inputs.low, inputs.high))
        y = torch.clamp((y - centre) * scale, low, high)
    norm_at, range_at = 0, sum(2 * n for n, epsilon in zip(sizes[1:], students.epsilons, strict=True) if epsilon)
    steps_at = range_at + sum(_ranges(students, layer) for layer in range(len(sizes) - 1))
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        matrix = matrices[at : at + fan_out * (fan_in + 1)].reshape(fan_out, fan_in + 1)
        at += matrix.numel()
        weight, bias = matrix[:, :-1], matrix[:, -1]
        y = functions[students.activation](y) if layer else y
        if quantization is None:
            y = y @ weight.T + bias
            y, norm_at = _normed(students, layer, y, scales, norm_at, lambda value: value)
            continue
        n = _ranges(students, layer)
        middle = torch.zeros(fan_in) if layer else centre
        weight = weight if layer else weight * scale
        if n:
            inverse = half(torch.exp(scales[range_at : range_at + n]))
            range_at += n
            top = 2**quantization.activation_bits - 1
            zero = (
                torch.clamp(torch.round(-lowest * inverse), 0, top).detach()
                if layer
                else torch.tensor(students.zero_points[restart])
            )
            y = torch.clamp(straight(y * inverse, torch.round(y * inverse)) + zero, 0, top)
            weight, middle = weight / inverse, zero + middle * inverse
        n = fan_out if quantization.per_channel else 1
        step = half(torch.exp(scales[steps_at : steps_at + n]).clamp(min=2.0**-14))[:, None]
        steps_at += n
        end = 2 ** (quantization.weight_bits[layer] - 1)
        codes = torch.clamp(weight / step, -end, end - 1)
        codes = straight(codes, torch.round(codes))
        y = (y @ codes.T) * step.T + half(bias - (codes * step * middle).sum(dim=1))
        y, norm_at = _normed(students, layer, y, scales, norm_at, half)
    return y


def _normed(students: Students, layer: int, y: Any, scales: Any, at: int, stored: Any) -> tuple[Any, int]:
    """Behind the layer's norm, where it has one; and where the next one's gains begin."""
    torch = pytest.importorskip("torch")
    if not students.epsilons[layer]:
        return y, at
    n = students.sizes[layer + 1]
    gain, shift = stored(scales[at : at + n]), stored(scales[at + n : at + 2 * n])
    return torch.nn.functional.layer_norm(y, (n,), gain, shift, students.epsilons[layer]), at + 2 * n


def _ranges(students: Students, layer: int) -> int:
    if students.quantization is None:
        return 0
    return 1 if layer else {"per_dimension": N_INPUTS, "per_tensor": 1, "none": 0}[students.quantization.input_range]


def torch_loss(y: Any, targets: np.ndarray, head: tuple[Layer, ...], loss: Loss) -> Any:
    torch = pytest.importorskip("torch")
    targets, costs = targets[:, :N_OUTPUTS], targets[:, N_OUTPUTS:]
    t = torch.tensor(targets)
    distance = (lambda e: e.abs().mean()) if loss == "l1" else (lambda e: (e * e).mean())
    if head is ARRAY:
        y = torch.tanh(y) * 2 + torch.linspace(-0.5, 0.5, N_OUTPUTS)
        y = y + (torch.clamp(y, -1, 1) - y).detach()
        unit = float(targets.std(axis=0).mean())
        if loss == "kl":
            drawn = torch.tensor(ACTION_STD)
            apart = torch.distributions.kl_divergence(
                torch.distributions.Normal(t, drawn), torch.distributions.Normal(y, drawn)
            )
            return 2 * apart.mean() / unit**2 / (drawn**-2).mean()
        if loss == "regret":
            usual = costs.clip(0).mean()
            return (torch.tensor((costs / usual).clip(0.1, 10)) * ((y - t) / unit) ** 2).mean()
        return distance((y - t) / unit)
    gaps = [np.diff(np.sort(group, axis=1)[:, -2:])[:, 0] for group in np.split(targets, [2], axis=1)]
    total = torch.zeros(())
    for student, teacher in zip(torch.split(y, [2, 3], dim=1), torch.split(t, [2, 3], dim=1), strict=True):
        teacher = teacher / float(np.median(np.concatenate(gaps)))
        log = torch.log_softmax(student, dim=1)
        if loss == "kl":
            total = total - (torch.softmax(2 * teacher, dim=1) * log).sum(dim=1).mean()
        elif loss == "cross_entropy":
            total = total + torch.nn.functional.cross_entropy(student, teacher.argmax(dim=1))
        elif loss == "regret":
            lost = (teacher.amax(dim=1, keepdim=True) - teacher).clamp(max=5)
            total = total + (log.exp() * lost).sum(dim=1).mean()
        else:
            total = total + distance(
                student - student.mean(dim=1, keepdim=True) - teacher + teacher.mean(dim=1, keepdim=True)
            )
    return total


REAL = None
ACTION_STD = (0.05, 0.2, 0.7, 0.1, 0.4)
CASES: list[tuple[Quantization | None, Activation, tuple[Layer, ...], Loss]] = [
    *((REAL, activation, ARRAY, "l2") for activation in ("silu", "relu", "tanh")),
    (REAL, "silu", ARRAY, "kl"),
    (REAL, "tanh", ARRAY, "regret"),
    *((REAL, "silu", CHOICES, loss) for loss in ("l2", "l1", "kl", "cross_entropy", "regret")),
    (Quantization((8, 8, 8)), "silu", ARRAY, "l1"),
    (Quantization((3, 4, 6), 8, "per_tensor", True), "relu", ARRAY, "l2"),
    (Quantization((4, 4, 4), 6, "none", True), "tanh", CHOICES, "kl"),
    (Quantization((2, 2, 2), 8, "per_dimension", True), "silu", CHOICES, "regret"),
    (Quantization((5, 5, 5), 4, "none", False), "silu", ARRAY, "l2"),
    (Quantization((4, 4, 4), 8, "per_dimension", False), "silu", ARRAY, "regret"),
]


@pytest.mark.parametrize(
    ("quantization", "activation", "head", "loss", "epsilons"),
    [
        *((*case, ()) for case in CASES),
        (REAL, "tanh", ARRAY, "l2", (1e-5, 1e-5)),
        (REAL, "relu", CHOICES, "kl", (0.0, 1e-3)),
        (Quantization((8, 8, 8)), "tanh", ARRAY, "l2", (1e-12, 1e-5)),
        (Quantization((4, 4, 4), 6, "none", True), "silu", CHOICES, "kl", (1e-5, 0.0)),
    ],
)
def test_the_gradient_is_that_of_torch(
    quantization: Quantization | None,
    activation: Activation,
    head: tuple[Layer, ...],
    loss: Loss,
    epsilons: tuple[float, ...],
) -> None:
    torch = pytest.importorskip("torch")
    students, x = quantities(quantization, activation, epsilons)
    rng = np.random.default_rng(1)
    targets = rng.standard_normal((len(x), N_OUTPUTS)).astype(np.float32)
    if head is ARRAY and loss == "regret":
        costs = 5 * rng.standard_normal(targets.shape) ** 5  # of both signs, and beyond what is taken as it is
        targets = np.concatenate([targets, costs.astype(np.float32)], axis=1)
    trainer = Trainer(students, head, loss, targets, ACTION_STD, np.random.default_rng(0))
    losses, of_matrices, of_scales = trainer.gradient(x, targets)
    for restart in range(RESTARTS):
        matrices = torch.tensor(students.matrices[restart], requires_grad=True)
        scales = torch.tensor(students.scales[restart], requires_grad=True)
        expected = torch_loss(torch_outputs(students, restart, matrices, scales, x), targets, head, loss)
        expected.backward()
        assert losses[restart] == pytest.approx(expected.item(), rel=1e-4)
        ours, theirs = of_matrices[restart], matrices.grad.numpy()
        assert np.abs(ours - theirs).max() <= 1e-3 * np.abs(theirs).max()
        if students.scales.size:
            ours, theirs = of_scales[restart], scales.grad.numpy()
            assert np.abs(ours - theirs).max() <= 1e-3 * np.abs(theirs).max()


def trained(students: Students, replay: Replay, n: int, batch: int, rate: float, seed: int = 5) -> Trainer:
    trainer = Trainer(students, (), "l2", replay.targets, (), np.random.default_rng(seed))
    trainer.run(replay, n, batch=batch, done=0, total=10**9, learning_rate=rate)
    return trainer


def replay_of(rng: np.random.Generator, x: np.ndarray, outputs: int) -> Replay:
    replay = Replay(x.shape[1], outputs)
    replay.add(x, np.tanh(x @ rng.standard_normal((x.shape[1], outputs))).astype(np.float32))
    return replay


def test_where_nothing_rotates_the_optimizer_is_adam() -> None:
    torch = pytest.importorskip("torch")
    # An input that never moves leaves the bias as the only number of a linear student.
    x = np.ones((64, 1), np.float32)
    replay = Replay(1, 1)
    replay.add(x, np.full((64, 1), 3, np.float32))
    students = Students((1, 1), "silu", 1, Inputs.of(x), np.random.default_rng(0))
    bias = torch.tensor(students.matrices[0, 1:].copy(), requires_grad=True)
    trained(students, replay, 40, 8, 1e-2)
    adam = torch.optim.Adam([bias], lr=1e-2 + 1e-5, betas=(0.95, 0.95), eps=1e-8)
    for _ in range(40):
        adam.zero_grad()
        ((bias - 3) ** 2).sum().backward()
        adam.step()
    assert students.matrices[0, 1] == pytest.approx(bias.item(), rel=1e-4)


def soap(gradient_at: Any, start: np.ndarray, first: np.ndarray, n: int, rate: float) -> np.ndarray:
    """Algorithm 3 of arXiv:2409.11321 with one beta, its bases turned by a power iteration every ten steps."""
    x, beta = start.copy(), 0.95
    left, right = first @ first.T, first.T @ first
    q_left, q_right = (np.linalg.eigh(m)[1][:, ::-1] for m in (left, right))
    m, v = np.zeros_like(x), np.zeros_like(x)
    for t in range(1, n + 1):
        g = gradient_at(x)
        m = beta * m + (1 - beta) * g
        v = beta * v + (1 - beta) * (q_left.T @ g @ q_right) ** 2
        turned = q_left.T @ m @ q_right / (1 - beta**t)
        x = x - rate * q_left @ (turned / (np.sqrt(v / (1 - beta**t)) + 1e-8)) @ q_right.T
        left, right = beta * left + (1 - beta) * g @ g.T, beta * right + (1 - beta) * g.T @ g
        if t % 10 == 0:
            order = np.argsort(-np.diag(q_left.T @ left @ q_left), kind="stable")
            q_left, v = np.linalg.qr((left @ q_left)[:, order])[0], v[order]
            order = np.argsort(-np.diag(q_right.T @ right @ q_right), kind="stable")
            q_right, v = np.linalg.qr((right @ q_right)[:, order])[0], v[:, order]
    return x


def test_the_optimizer_is_that_of_the_paper() -> None:
    rng = np.random.default_rng(2)
    # A square matrix: the eigenvectors of a gradient of smaller rank are not unique.
    mix = rng.standard_normal((5, 5)) @ np.diag(np.logspace(-0.5, 0.5, 5))
    x = (rng.standard_normal((64, 5)) @ mix).astype(np.float32)
    replay = replay_of(rng, x, 6)
    inputs = Inputs.of(x)
    students = Students((5, 6), "silu", 1, Inputs(inputs.centre, inputs.scale, inputs.low - 9, inputs.high + 9), rng)
    unit = replay.targets.std(axis=0).mean()
    design = np.concatenate([(x - inputs.centre) * inputs.scale, np.ones((64, 1))], axis=1)
    # Every batch draws its rows by the generator that the trainer was given.
    drawn = np.random.default_rng(5).integers(0, 64, (35, 256))
    batches = iter([drawn[0], *drawn])

    def gradient_at(w: np.ndarray) -> np.ndarray:
        rows = next(batches)
        error = (design[rows] @ w.T - replay.targets[rows]) / unit
        return 2 * error.T @ design[rows] / error.size / unit

    start = students.matrices[0].reshape(6, 6).astype(np.float64)
    expected = soap(gradient_at, start, gradient_at(start), 35, 1e-2 + 1e-5)
    trained(students, replay, 35, 256, 1e-2)
    moved = np.abs(expected - start).max()
    assert moved > 0.3
    # In its own eigenbasis the first gradient is diagonal: elsewhere the signs of its rounding errors, and a step of
    # either sign, are nobody's to know. What differs stays below two steps.
    np.testing.assert_allclose(students.matrices[0].reshape(6, 6), expected, atol=0.02)


def test_each_student_trains_alone() -> None:
    rng = np.random.default_rng(0)
    x = observations(rng)
    replay = replay_of(rng, x, 3)
    twin, alone = (Students((N_INPUTS, 8, 3), "silu", n, Inputs.of(x), np.random.default_rng(1)) for n in (2, 1))
    alone.matrices[:] = twin.matrices[:1]
    trained(twin, replay, 30, 32, 1e-2)
    trained(alone, replay, 30, 32, 1e-2)
    np.testing.assert_array_equal(twin.matrices[0], alone.matrices[0])
    assert np.abs(twin.matrices[1] - twin.matrices[0]).max() > 0.1


@pytest.mark.parametrize("quantization", [None, Quantization((8, 8))])
def test_weights_that_are_held_at_zero_have_no_gradient_and_stay(quantization: Quantization | None) -> None:
    rng = np.random.default_rng(5)
    x = observations(rng)
    replay = replay_of(rng, x, 3)
    students = Students((N_INPUTS, 8, 3), "silu", 2, Inputs.of(x), rng)
    kept = [rng.random(matrix.shape[1:]) < 0.5 for matrix in students.layers_of(students.matrices)]
    for keep in kept:
        keep[:, -1] = True
    students.hold_zeros([keep[:, :-1] for keep in kept])
    if quantization is not None:
        students.quantize(quantization, x)
    gradient = Trainer(students, (), "l2", replay.targets, (), rng).gradient(x[:32], replay.targets[:32])[1]
    before = students.matrices.copy()
    trained(students, replay, 40, 64, 1e-2)
    for keep, slope, start, end in zip(
        kept, *(students.layers_of(array) for array in (gradient, before, students.matrices)), strict=True
    ):
        assert not slope[:, ~keep].any()
        assert not end[:, ~keep].any()
        assert (np.abs(end - start)[:, keep] > 0).mean() > 0.8  # one input is always the same


@pytest.mark.parametrize("quantization", [None, Quantization((4, 4), 8, "per_dimension", True)])
def test_training_learns(quantization: Quantization | None) -> None:
    rng = np.random.default_rng(3)
    x = observations(rng)
    replay = replay_of(rng, (x - x.mean(axis=0)) / (x.std(axis=0) + 1e-6), 3)
    students = Students((N_INPUTS, 16, 3), "silu", RESTARTS, Inputs.of(replay.observations), rng)
    if quantization is not None:
        students.quantize(quantization, replay.observations)
    trainer = Trainer(students, (), "l2", replay.targets, (), rng)
    first = trainer.run(replay, 20, batch=64, done=0, total=1000, learning_rate=1e-2)
    trainer.run(replay, 900, batch=64, done=20, total=1000, learning_rate=1e-2)
    last = trainer.run(replay, 80, batch=64, done=920, total=1000, learning_rate=1e-2)
    assert (last < 0.1 * first).all()


def test_a_narrow_layer_behind_units_that_are_off_stays_finite() -> None:
    rng = np.random.default_rng(7)
    x = rng.standard_normal((512, 17)).astype(np.float32)
    replay = replay_of(rng, x, 3)
    students = Students((17, 256, 3), "relu", 1, Inputs.of(x), rng)
    students.layers_of(students.matrices)[0][:, :, -1] -= 40 * rng.random(256) * (rng.random(256) < 0.6)
    before = students.matrices.copy()
    trained(students, replay, 25, 64, 1e-3)
    assert np.isfinite(students.matrices).all()
    assert np.abs(students.matrices - before).max() > 1e-3


def test_a_loss_that_is_not_finite_is_said() -> None:
    rng = np.random.default_rng(9)
    x = observations(rng)
    replay = replay_of(rng, x, 3)
    students = Students((N_INPUTS, 8, 3), "silu", 1, Inputs.of(x), rng)
    students.matrices[:, 0] = np.nan
    with pytest.raises(LilliputError, match="loss is not finite"):
        trained(students, replay, 5, 32, 1e-2)
    with pytest.raises(LilliputError, match="loss 'cross_entropy' is for choices"):
        Trainer(students, ARRAY, "cross_entropy", replay.targets, (), rng)
    with pytest.raises(LilliputError, match="loss 'kl' needs the spread of the teacher's actions; its file has none"):
        Trainer(students, ARRAY, "kl", replay.targets, (), rng)


def test_a_replay_keeps_all_states_in_order() -> None:
    replay = Replay(2, 1)
    rng = np.random.default_rng(0)
    parts = [rng.standard_normal((n, 2)).astype(np.float32) for n in (5, 1, 100, 3)]
    for part in parts:
        replay.add(part, part[:, :1])
    np.testing.assert_array_equal(replay.observations, np.concatenate(parts))
    np.testing.assert_array_equal(replay.targets, np.concatenate(parts)[:, :1])
