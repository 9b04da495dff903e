"""What learns over sequences: outputs held against `reference`, gradients against torch."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from tests.arrays import f32
from tests.policies.recurrent import dense, every_memory, gru, lstm, policy_with, walk

from lilliput.errors import NotApplicable
from lilliput.policies import layers, reference
from lilliput.policies.compress import Context, compress
from lilliput.policies.layers import Layer
from lilliput.policies.policy import Policy
from lilliput.policies.students import Chain

STEPS, ROWS, CUT = 9, 3, 4
LEARN = [
    name for name in every_memory() if name not in ("gru resets first", "choices") and not name.startswith("previous")
]


def begins() -> np.ndarray:
    """An episode from the start, and in one row another one in the middle."""
    found = np.zeros((STEPS, ROWS), bool)
    found[0] = found[CUT, 1] = True
    return found


def network(policy: Policy) -> tuple[Layer, ...]:
    return tuple(one for one in policy.layers if not isinstance(one, layers.Head))


def by_reference(stack: tuple[Layer, ...], x: np.ndarray) -> np.ndarray:
    """Of sequences (steps, rows, inputs), each row cut where an episode begins."""
    whole = Policy(policy_with(inputs=x.shape[2]).observation_space, policy_with().action_space, stack)
    rows = []
    for row in range(x.shape[1]):
        cuts = [*np.flatnonzero(begins()[:, row]), STEPS]
        rows.append(np.concatenate([reference.act_episode(whole, x[a:b, row]) for a, b in pairwise(cuts)]))
    return np.stack(rows, axis=1)


@pytest.mark.parametrize("name", LEARN)
@pytest.mark.parametrize(
    "recipe",
    [
        "",
        "quantize()",
        'quantize(scheme="static", input="per_dimension")',
        'quantize(weight_bits=4, scheme="weight_only")',
    ],
)
def test_what_it_gives_is_what_the_reference_does(name: str, recipe: str) -> None:
    policy = every_memory()[name]
    observations = walk(policy, 200)
    small = compress(policy, recipe, Context.from_observations(policy, observations))
    x = np.stack([observations[i * 40 : i * 40 + STEPS] for i in range(ROWS)], axis=1)
    given, _ = Chain(network(small)).forward(x, begins())
    # Where a value lies between two codes float sums of another order decide: one quantum, in few places.
    off = np.abs(given - by_reference(network(small), x))
    assert np.quantile(off, 0.9) < 2e-5
    assert off.max() < (2e-5 if not recipe else 0.05)


@pytest.mark.parametrize("name", LEARN)
@pytest.mark.parametrize(
    "recipe", ["half()", 'quantize(scheme="static", input="per_dimension")', "quantize(weight_bits=3)"]
)
def test_what_learned_nothing_is_what_it_was(name: str, recipe: str) -> None:
    policy = every_memory()[name]
    small = compress(policy, recipe, Context.from_observations(policy, walk(policy, 200)))
    before, after = network(small), Chain(network(small)).stack()
    for old, new in zip(before, after, strict=True):
        for a, b in zip(layers.linear_parts(old), layers.linear_parts(new), strict=True):
            if isinstance(a, layers.QuantizedDense):
                assert isinstance(b, layers.QuantizedDense)
                np.testing.assert_array_equal(a.weight.values, b.weight.values)
                assert a.weight.bits == b.weight.bits
                assert a.weight.scale.dtype == b.weight.scale.dtype
            else:
                np.testing.assert_array_equal(a.weight, b.weight)  # type: ignore[arg-type]
            if a.bias is not None:
                assert b.bias is not None
                np.testing.assert_allclose(b.bias, a.bias, rtol=1e-5, atol=1e-5)
                assert a.bias.dtype == b.bias.dtype


def torch_network(stack: tuple[Layer, ...]) -> tuple[Any, list[Any]]:
    """The same in torch, with a forward over sequences that begin, and its parameters in the order of the chain's."""
    torch = pytest.importorskip("torch")
    modules: list[Any] = []
    parameters: list[Any] = []
    for layer in stack:
        if isinstance(layer, layers.Lstm | layers.Gru):
            n = layers.n_units(layer)
            kind = torch.nn.LSTM if isinstance(layer, layers.Lstm) else torch.nn.GRU
            module = kind(layer.input.weight.shape[1], n)
            own = (module.weight_ih_l0, module.bias_ih_l0, module.weight_hh_l0, module.bias_hh_l0)
            parts = (layer.input, layer.recurrent)
        elif isinstance(layer, layers.Dense):
            module = torch.nn.Linear(layer.weight.shape[1], len(layer.weight))
            own, parts = (module.weight, module.bias), (layer,)
        else:
            kinds: dict[type, Callable[[], torch.nn.Module]] = {
                layers.Elu: torch.nn.ELU, layers.Relu: torch.nn.ReLU, layers.Tanh: torch.nn.Tanh,
                layers.Silu: torch.nn.SiLU, layers.Sigmoid: torch.nn.Sigmoid, layers.LeakyRelu: torch.nn.LeakyReLU,
                layers.HardTanh: lambda: torch.nn.Hardtanh(-0.2, 0.3),
            }  # fmt: skip
            modules.append(kinds[type(layer)]())
            continue
        values = [array for part in parts for array in (part.weight, part.bias)]  # type: ignore[union-attr]
        with torch.no_grad():
            for parameter, value in zip(own, values, strict=True):
                parameter.copy_(torch.from_numpy(np.array(value)))
        modules.append(module)
        parameters += own

    def forward(x: Any) -> Any:
        for module in modules:
            x = module(x)
            x = x[0] if isinstance(x, tuple) else x
        return x

    return forward, parameters


@pytest.mark.parametrize(
    "between",
    [
        layers.Elu(),
        layers.Relu(),
        layers.Tanh(),
        layers.Silu(),
        layers.Sigmoid(),
        layers.LeakyRelu(),
        layers.HardTanh(-0.2, 0.3),
    ],
    ids=lambda layer: type(layer).__name__,
)
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_gradients_through_time_are_those_of_torch(between: Layer, kind: str) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    memory = (lstm(rng, 5, 4), gru(rng, 4, 3)) if kind == "lstm" else (gru(rng, 5, 4), lstm(rng, 4, 3))
    stack = (memory[0], between, memory[1], dense(rng, 2, 3))
    x, dy = f32(rng.normal(size=(STEPS, ROWS, 5))), f32(rng.normal(size=(STEPS, ROWS, 2)))
    chain = Chain(stack)
    y, back = chain.forward(x, begins())
    back(dy)
    forward, parameters = torch_network(stack)
    total = torch.zeros(())
    for row in range(ROWS):
        cuts = [*np.flatnonzero(begins()[:, row]), STEPS]
        for a, b in pairwise(cuts):
            given = forward(torch.from_numpy(x[a:b, row : row + 1]))
            np.testing.assert_allclose(y[a:b, row : row + 1], given.detach().numpy(), atol=1e-5)
            total = total + (given * torch.from_numpy(dy[a:b, row : row + 1])).sum()
    total.backward()
    found = [gradient for one in chain.linear for gradient in one.gradients]
    assert len(found) == len(parameters)
    for gradient, parameter in zip(found, parameters, strict=True):
        np.testing.assert_allclose(gradient, parameter.grad.numpy(), rtol=1e-3, atol=2e-5)


def test_the_gradient_of_a_history_goes_to_the_steps_that_it_saw() -> None:
    rng = np.random.default_rng(0)
    first, last = dense(rng, 3, 4), dense(rng, 1, 9)
    chain = Chain((first, layers.History(3), last))
    x, dy = f32(rng.normal(size=(STEPS, ROWS, 4))), f32(rng.normal(size=(STEPS, ROWS, 1)))
    _, back = chain.forward(x, begins())
    back(dy)
    gradient = chain.linear[0].gradients[0]
    for i, j in ((0, 0), (2, 3)):
        moved = []
        for change in (-1e-2, 1e-2):
            weight = first.weight.copy()
            weight[i, j] += np.float32(change)
            y, _ = Chain((layers.Dense(weight, first.bias), layers.History(3), last)).forward(x, begins())
            moved.append(float((y * dy).sum(dtype=np.float64)))
        assert gradient[i, j] == pytest.approx((moved[1] - moved[0]) / 2e-2, rel=1e-2, abs=1e-3)


def test_a_rounded_weight_learns_by_the_gradient_of_what_it_stands_for() -> None:
    """Against torch on the real numbers that the codes are, where no input leaves its range."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    real = policy_with(gru(rng, 5, 4))
    small = compress(real, 'quantize(scheme="static")', Context.from_observations(real, walk(real, 300)))
    quantized = small.layers[1]
    assert isinstance(quantized, layers.Gru)
    chain = Chain((quantized,))
    seen = reference.apply(small.layers[0], walk(real, STEPS))
    x = np.repeat(f32(seen)[:, None], ROWS, axis=1)
    dy = f32(rng.normal(size=(STEPS, ROWS, 4)))
    y, back = chain.forward(x, np.arange(STEPS)[:, None] * np.ones((1, ROWS), int) == 0)
    back(dy)
    inverse = [1 / float(part.input.inverse_scale) for part in (quantized.input, quantized.recurrent)]  # type: ignore[union-attr]
    stood = [f32(one.matrix / size) for one, size in zip(chain.linear, inverse, strict=True)]
    given, recurrent = (layers.Dense(w, one.bias) for w, one in zip(stood, chain.linear, strict=True))
    plain = layers.Gru(given, recurrent)
    forward, parameters = torch_network((plain,))
    wanted = forward(torch.from_numpy(x))
    np.testing.assert_allclose(y, wanted.detach().numpy(), atol=0.05)
    (wanted * torch.from_numpy(dy)).sum().backward()
    for one, parameter, size, part in zip(
        chain.linear, (parameters[0], parameters[2]), inverse, (quantized.input, quantized.recurrent), strict=True
    ):
        assert isinstance(part, layers.QuantizedDense)
        expected = parameter.grad.numpy() * part.weight.scale.astype(np.float32).reshape(-1, 1) / size
        assert np.corrcoef(one.gradients[0].ravel(), expected.ravel())[0, 1] > 0.99
        assert np.abs(one.gradients[0]).sum() == pytest.approx(np.abs(expected).sum(), rel=0.1)


def test_weights_that_were_pruned_do_not_learn() -> None:
    rng = np.random.default_rng(0)
    weight = dense(rng, 2, 4).weight.copy()
    weight[0, 1:3] = 0
    chain = Chain((layers.Dense(weight, None), layers.History(2)))
    _, back = chain.forward(f32(rng.normal(size=(STEPS, ROWS, 4))), begins())
    back(np.ones((STEPS, ROWS, 4), np.float32))
    assert not chain.linear[0].gradients[0][0, 1:3].any()
    assert chain.linear[0].gradients[0][1].all()


def test_what_does_not_learn_is_said() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(NotApplicable, match="layer 0 is a GRU that resets first"):
        Chain((gru(rng, 4, 3, reset_first=True),))
    with pytest.raises(NotApplicable, match="layer 1 is LayerNorm"):
        Chain((dense(rng, 3, 3), layers.LayerNorm(np.ones(3, np.float32), np.zeros(3, np.float32))))
