"""Held against `reference` (what a student means) and against torch's own Adam (what SOAP is where nothing rotates)."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lilliput import layers, reference, spaces, torch_bridge  # noqa: E402
from lilliput.policy import Policy  # noqa: E402

N_INPUTS, N_OUTPUTS, RESTARTS = 7, 3, 2


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with torch_bridge.one_thread():
        yield


def observations(rng: np.random.Generator, n: int = 3000) -> np.ndarray:
    x = rng.standard_normal((n, N_INPUTS)) * np.array([0.01, 0.3, 1, 3, 30, 1, 0]) + np.array([1, 0, -5, 0, 10, 0, 2])
    return x.astype(np.float32)


def students(
    rng: np.random.Generator, x: np.ndarray, hidden: tuple[int, ...], activation: torch_bridge.Activation
) -> torch_bridge.Students:
    return torch_bridge.Students((N_INPUTS, *hidden, N_OUTPUTS), activation, RESTARTS, torch_bridge.Inputs.of(x), rng)


def played(network: tuple[layers.Layer, ...], x: np.ndarray) -> np.ndarray:
    bound = np.full(N_OUTPUTS, np.inf)
    policy = Policy(
        spaces.Box((N_INPUTS,), np.full(N_INPUTS, -np.inf), np.full(N_INPUTS, np.inf)),
        spaces.Box((N_OUTPUTS,), -bound, bound),
        network,
    )
    return reference.act(policy, x)


@pytest.mark.parametrize("hidden", [(), (6,), (5, 4)])
@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
@pytest.mark.parametrize("input_range", ["per_dimension", "per_tensor", "none"])
def test_a_quantized_student_computes_what_its_layers_mean(
    hidden: tuple[int, ...], bits: int, input_range: torch_bridge.InputRange
) -> None:
    rng = np.random.default_rng(bits)
    x = observations(rng)
    batch = students(rng, x, hidden, "silu")
    quantization = torch_bridge.Quantization((bits,) * (len(hidden) + 1), 8, input_range)
    batch.quantize(quantization, torch.tensor(x[:1000]))
    with torch.no_grad():
        found = batch.forward(torch.tensor(x)).numpy()
    for restart in range(RESTARTS):
        expected = played(batch.network(restart), x)
        difference = np.abs(found[restart] - expected)
        scale = np.abs(expected).max()
        # float32 may round an activation to the neighbouring code now and then; the rest agrees to float precision.
        assert np.quantile(difference, 0.98) <= 1e-4 * scale
        assert difference.max() <= 0.1 * scale


@pytest.mark.parametrize("activation", ["silu", "relu", "tanh"])
def test_a_real_student_computes_what_its_layers_mean(activation: torch_bridge.Activation) -> None:
    rng = np.random.default_rng(0)
    x = observations(rng)
    batch = students(rng, x, (6, 5), activation)
    inside = x[((x >= np.quantile(x, 0.01, axis=0)) & (x <= np.quantile(x, 0.99, axis=0))).all(axis=1)]
    with torch.no_grad():
        found = batch.forward(torch.tensor(inside)).numpy()
    for restart in range(RESTARTS):
        np.testing.assert_allclose(found[restart], played(batch.network(restart), inside), atol=2e-3)


def test_quantizing_to_eight_bits_changes_little() -> None:
    rng = np.random.default_rng(0)
    x = observations(rng)
    batch = students(rng, x, (12,), "silu")
    with torch.no_grad():
        before = batch.forward(torch.tensor(x)).numpy()
        batch.quantize(torch_bridge.Quantization((8, 8)), torch.tensor(x))
        after = batch.forward(torch.tensor(x)).numpy()
    assert np.abs(after - before).mean() < 0.03 * before.std()


def test_soap_of_single_numbers_is_adam() -> None:
    torch.manual_seed(0)
    start = torch.randn(5, 1, 1)
    ours, theirs = start.clone().requires_grad_(), start.clone().requires_grad_()
    soap = torch_bridge.Soap([ours], beta=0.95, epsilon=1e-8, frequency=3)
    adam = torch.optim.Adam([theirs], lr=1e-2, betas=(0.95, 0.95), eps=1e-8)
    for step in range(30):
        ((ours - 1) ** 4).sum().backward()
        soap.step(1e-2)
        if step:  # the first gradient only sets the basis up
            ((theirs - 1) ** 4).sum().backward()
            adam.step()
            adam.zero_grad()
    torch.testing.assert_close(ours, theirs)


def test_soap_trains_each_network_of_a_batch_alone() -> None:
    torch.manual_seed(0)
    start, target = torch.randn(3, 4, 5), torch.randn(3, 4, 5)
    together = start.clone().requires_grad_()
    soap = torch_bridge.Soap([together])
    alone = [start[i : i + 1].clone().requires_grad_() for i in range(3)]
    optimizers = [torch_bridge.Soap([one]) for one in alone]
    for _ in range(25):
        ((together - target) ** 2).sum().backward()
        soap.step(1e-2)
        for i, (one, optimizer) in enumerate(zip(alone, optimizers, strict=True)):
            ((one - target[i : i + 1]) ** 2).sum().backward()
            optimizer.step(1e-2)
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-4, rtol=1e-4)


def test_soap_beats_adam_on_a_badly_conditioned_matrix() -> None:
    torch.manual_seed(0)
    mix = torch.linalg.qr(torch.randn(12, 12))[0] @ torch.diag(torch.logspace(-2, 0.5, 12))
    target = torch.randn(6, 12)

    def loss(weight: Any) -> Any:
        return (((weight - target) @ mix) ** 2).mean()

    ours, theirs = torch.zeros(1, 6, 12, requires_grad=True), torch.zeros(1, 6, 12, requires_grad=True)
    soap, adam = torch_bridge.Soap([ours]), torch.optim.Adam([theirs], lr=1e-2)
    for _ in range(300):
        loss(ours).backward()
        soap.step(1e-2)
        loss(theirs).backward()
        adam.step()
        adam.zero_grad()
    assert float(loss(ours).detach()) < 0.7 * float(loss(theirs).detach())


def test_a_replay_keeps_all_states_in_order() -> None:
    replay = torch_bridge.Replay(2, 1)
    rng = np.random.default_rng(0)
    parts = [rng.standard_normal((n, 2)).astype(np.float32) for n in (5, 1, 100, 3)]
    for part in parts:
        replay.add(part, part[:, :1])
    np.testing.assert_array_equal(replay.observations.numpy(), np.concatenate(parts))
    np.testing.assert_array_equal(replay.targets.numpy(), np.concatenate(parts)[:, :1])


@pytest.mark.parametrize("ranges", [(3, 1, 1), (3, 1, 4)])
def test_the_gradient_passes_the_rounding_and_stops_at_the_ends(ranges: tuple[int, ...]) -> None:
    from lilliput.torch_bridge.students import _input_codes

    rng = np.random.default_rng(5)
    x = torch.tensor(rng.standard_normal((3, 50, 4)) * 2, requires_grad=True)
    inverse = torch.tensor(rng.uniform(20, 60, ranges), requires_grad=True)
    zero = torch.full((), 128.0, dtype=torch.float64)
    weight = torch.tensor(rng.standard_normal((3, 50, 4)))
    found = _input_codes(x, inverse, zero, 255)
    assert 0 < int(((found == 0) | (found == 255)).sum()) < found.numel() / 2
    ours = torch.autograd.grad((found * weight).sum(), (x, inverse))
    # The same in parts, of which torch knows the gradient: the rounding is taken out of it.
    real = x * inverse + zero
    parts = torch.clamp(real + (torch.round(x * inverse) + zero - real).detach(), 0, 255)
    torch.testing.assert_close(found, parts)
    torch.testing.assert_close(ours, torch.autograd.grad((parts * weight).sum(), (x, inverse)))


def test_the_students_that_are_kept_stay_what_they_were() -> None:
    rng = np.random.default_rng(6)
    x = observations(rng)
    batch = students(rng, x, (5,), "silu")
    before = batch.forward(torch.tensor(x)).detach().numpy()
    batch.keep((1,))
    assert batch.restarts == 1
    # A batch of one may add in another order.
    np.testing.assert_allclose(batch.forward(torch.tensor(x)).detach().numpy()[0], before[1], rtol=1e-5, atol=1e-6)
    assert np.abs(before[0] - before[1]).max() > 0.1
    batch.quantize(torch_bridge.Quantization((8, 8)), torch.tensor(x))
    assert len(batch.network(0)) == 3


def test_soap_begins_with_gradients_of_small_rank() -> None:
    rng = np.random.default_rng(7)
    for _ in range(20):
        # Three outputs of many units, of which many are off and others all but off, as a ReLU leaves them.
        active = np.maximum(rng.standard_normal((256, 257)), 0) * np.exp(-40 * rng.random(257))
        gradient = rng.standard_normal((3, 256)) @ (active * (rng.random(257) < 0.6)) / 256
        parameter = torch.zeros((1, 3, 257), requires_grad=True)
        soap = torch_bridge.Soap([parameter])
        for _ in range(3):
            parameter.grad = torch.tensor(gradient[None], dtype=torch.float32)
            soap.step(1e-3)
        assert torch.isfinite(parameter).all()
