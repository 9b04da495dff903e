"""Held against `reference`: what a student is, real or quantized, is what its layers mean."""

import numpy as np
import pytest
from tests.policies.students.samples import N_INPUTS, observations

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference, spaces
from lilliput.policies.policy import Policy
from lilliput.policies.students import Activation, InputRange, Inputs, Quantization, Students

N_OUTPUTS, RESTARTS = 3, 2


def students(
    rng: np.random.Generator, x: np.ndarray, hidden: tuple[int, ...], activation: Activation = "silu"
) -> Students:
    return Students((N_INPUTS, *hidden, N_OUTPUTS), activation, RESTARTS, Inputs.of(x), rng)


def with_norms(
    rng: np.random.Generator,
    x: np.ndarray,
    hidden: tuple[int, ...],
    activation: Activation,
    epsilons: tuple[float, ...],
) -> Students:
    """Students behind layer norms with gains and shifts of their own."""
    batch = Students((N_INPUTS, *hidden, N_OUTPUTS), activation, RESTARTS, Inputs.of(x), rng, epsilons)
    batch.scales[:] += 0.4 * rng.standard_normal(batch.scales.shape)
    return batch


def forward(batch: Students, x: np.ndarray) -> np.ndarray:
    return batch.forward(np.repeat(x[None], batch.restarts, axis=0))


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
@pytest.mark.parametrize("per_channel", [False, True])
def test_a_quantized_student_computes_what_its_layers_mean(
    hidden: tuple[int, ...], bits: int, input_range: InputRange, per_channel: bool
) -> None:
    rng = np.random.default_rng(bits)
    x = observations(rng)
    batch = students(rng, x, hidden)
    batch.quantize(Quantization((bits,) * (len(hidden) + 1), 8, input_range, per_channel), x[:1000])
    found = forward(batch, x)
    for restart in range(RESTARTS):
        expected = played(batch.network(restart), x)
        difference = np.abs(found[restart] - expected)
        scale = np.abs(expected).max()
        # float32 may round an activation to the neighbouring code now and then; the rest agrees to float precision.
        assert np.quantile(difference, 0.95) <= 1e-4 * scale
        assert difference.max() <= 0.1 * scale


@pytest.mark.parametrize("activation", ["silu", "relu", "tanh"])
def test_a_real_student_computes_what_its_layers_mean(activation: Activation) -> None:
    rng = np.random.default_rng(0)
    x = observations(rng)
    batch = students(rng, x, (6, 5), activation)
    inside = x[((x >= np.quantile(x, 0.01, axis=0)) & (x <= np.quantile(x, 0.99, axis=0))).all(axis=1)]
    found = forward(batch, inside)
    for restart in range(RESTARTS):
        np.testing.assert_allclose(found[restart], played(batch.network(restart), inside), atol=2e-3)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("epsilons", [(1e-5, 1e-5), (0.0, 1e-12)])
@pytest.mark.parametrize("bits", [None, 4, 8])
def test_a_student_with_layer_norms_computes_what_its_layers_mean(
    activation: Activation, epsilons: tuple[float, ...], bits: int | None
) -> None:
    rng = np.random.default_rng(4)
    x = observations(rng)
    batch = with_norms(rng, x, (12, 9), activation, epsilons)
    if bits is not None:
        batch.quantize(Quantization((bits,) * 3), x[:1000])
    inside = x[((x >= np.quantile(x, 0.01, axis=0)) & (x <= np.quantile(x, 0.99, axis=0))).all(axis=1)]
    found = forward(batch, inside)
    for restart in range(RESTARTS):
        network = batch.network(restart)
        assert sum(isinstance(layer, layers.LayerNorm) for layer in network) == sum(one > 0 for one in epsilons)
        expected = played(network, inside)
        difference, scale = np.abs(found[restart] - expected), np.abs(expected).max()
        # As above: a code may be the neighbouring one now and then.
        assert np.quantile(difference, 0.95) <= 1e-4 * scale
        assert difference.max() <= 0.1 * scale
    batch = with_norms(np.random.default_rng(4), x, (12, 9), activation, epsilons)
    before = forward(batch, x)
    batch.quantize(Quantization((8, 8, 8)), x)
    assert np.abs(forward(batch, x) - before).mean() < 0.05 * before.std()


@pytest.mark.parametrize("n", [1, 15, 16, 33])
def test_a_batch_of_any_length_is_its_rows_alone(n: int) -> None:
    rng = np.random.default_rng(3)
    x = observations(rng)
    batch = students(rng, x, (6, 5))
    batch.quantize(Quantization((8, 8, 8)), x)
    together = forward(batch, x[:n])
    alone = np.concatenate([forward(batch, x[i : i + 1]) for i in range(n)], axis=1)
    np.testing.assert_array_equal(together, alone)


def test_quantizing_to_eight_bits_changes_little() -> None:
    rng = np.random.default_rng(0)
    x = observations(rng)
    batch = students(rng, x, (12,))
    before = forward(batch, x)
    batch.quantize(Quantization((8, 8)), x)
    assert np.abs(forward(batch, x) - before).mean() < 0.03 * before.std()


@pytest.mark.parametrize("input_range", ["per_dimension", "per_tensor", "none"])
def test_a_number_that_hardly_ever_changes_is_quantized_without_a_warning(input_range: InputRange) -> None:
    """A board's square that is set once in thousands of states."""
    rng = np.random.default_rng(5)
    x = np.resize(observations(rng), (4_000, N_INPUTS))
    x[:, 1] = 0
    x[1_234, 1] = 1
    batch = students(rng, x, (4,))
    batch.quantize(Quantization((6, 6), input_range=input_range), x)
    rows = x[1_200:1_240]
    np.testing.assert_allclose(forward(batch, rows)[0], played(batch.network(0), rows), atol=1e-4)


def test_the_students_that_are_chosen_stay_what_they_were() -> None:
    rng = np.random.default_rng(6)
    x = observations(rng)
    batch = students(rng, x, (5,))
    before = forward(batch, x)
    one = batch.chosen((1,))
    batch.matrices[:] = 0
    assert one.restarts == 1
    np.testing.assert_array_equal(forward(one, x)[0], before[1])
    assert np.abs(before[0] - before[1]).max() > 0.1
    one.quantize(Quantization((8, 8)), x)
    assert len(one.network(0)) == 3


@pytest.mark.parametrize("quantization", [None, Quantization((4, 8)), Quantization((3, 3), per_channel=True)])
def test_students_of_several_times_are_joined_as_they_were(quantization: Quantization | None) -> None:
    rng = np.random.default_rng(8)
    x = observations(rng)
    batch = students(rng, x, (5,))
    batch.hold_zeros([rng.random((5, N_INPUTS)) < 0.5, np.ones((N_OUTPUTS, 5), bool)])
    if quantization is not None:
        batch.quantize(quantization, x)
    early = batch.chosen(range(batch.restarts))
    batch.matrices *= 0.5
    late, networks = forward(batch, x), [*(early.network(r) for r in range(2)), *(batch.network(r) for r in range(2))]
    both = Students.joined([early, batch])
    assert both.restarts == 4
    np.testing.assert_array_equal(forward(both, x), np.concatenate([forward(early, x), late]))
    for restart, network in enumerate(networks):
        for layer, expected in zip(both.network(restart), network, strict=True):
            assert repr(layer) == repr(expected)


def test_a_student_begins_with_the_weights_that_are_given() -> None:
    rng = np.random.default_rng(7)
    x = observations(rng)
    weights = [rng.standard_normal((5, N_INPUTS)), rng.standard_normal((N_OUTPUTS, 5))]
    weights[0][:, -1] = 0  # the last input never moves
    biases = [rng.standard_normal(5), rng.standard_normal(N_OUTPUTS)]
    batch = students(rng, x, (5,), "relu")
    batch.begin(weights, biases, rng)
    given = [layers.Dense(w.astype(np.float32), b.astype(np.float32)) for w, b in zip(weights, biases, strict=True)]
    inside = x[((x >= np.quantile(x, 0.01, axis=0)) & (x <= np.quantile(x, 0.99, axis=0))).all(axis=1)]
    np.testing.assert_allclose(
        forward(batch, inside)[0], played((given[0], layers.Relu(), given[1]), inside), rtol=1e-3, atol=1e-3
    )


def test_what_cannot_be_is_said() -> None:
    rng = np.random.default_rng(8)
    x = observations(rng)
    with pytest.raises(LilliputError, match="weight_bits has 1 numbers; the student has 2 layers"):
        students(rng, x, (5,)).quantize(Quantization((8,)), x)
    with pytest.raises(LilliputError, match="a student of 18 layers; at most 16"):
        students(rng, x, (2,) * 17)


def test_the_least_weights_of_all_layers_are_cut_and_what_was_cut_stays() -> None:
    rng = np.random.default_rng(0)
    x = observations(rng)
    students = Students((N_INPUTS, 6, 3), "tanh", 2, Inputs.of(x), rng)
    students.layers_of(students.matrices)[0][:] *= 1e-3  # by size alone, this layer would be cut to nothing
    before = students.matrices.copy()
    students.prune(0.5)
    students.prune(0.25)
    for old, new in zip(before, students.matrices, strict=True):
        scored: list[tuple[float, bool]] = []
        for was, now in zip(students.layers_of(old[None]), students.layers_of(new[None]), strict=True):
            was, now = was[0, :, :-1].reshape(-1), now[0, :, :-1].reshape(-1)
            assert now.any()
            np.testing.assert_array_equal(was[now != 0], now[now != 0])
            squares = [float(weight) ** 2 for weight in was]
            scored += [(a / sum(b for b in squares if b >= a), kept) for a, kept in zip(squares, now != 0, strict=True)]
        assert sum(not kept for _, kept in scored) == len(scored) // 2
        assert max(score for score, kept in scored if not kept) <= min(score for score, kept in scored if kept)
