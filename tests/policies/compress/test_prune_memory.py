"""Units of a hidden state taken out: where they do nothing, the function is the same."""

from typing import Any

import numpy as np
import pytest
from tests.arrays import f32
from tests.policies.recurrent import every_memory, gru, lstm, policy_with, walk

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference
from lilliput.policies.compress import Context, compress

DEAD = np.array([1, 4, 5])
"""Units of 10: a ratio of 0.3 is three of them."""


def without(part: layers.Dense, gates: int, units: np.ndarray) -> layers.Dense:
    """The part with no weights and biases of those units in any gate."""
    rows = (np.arange(gates)[:, None] * 10 + units).reshape(-1)
    weight, bias = part.weight.copy(), np.asarray(part.bias).copy()
    weight[rows], bias[rows] = 0, 0
    return layers.Dense(weight, bias)


@pytest.mark.parametrize("kind", ["lstm", "gru", "gru resets first"])
def test_units_that_do_nothing_are_taken_out_and_nothing_changes(kind: str) -> None:
    rng = np.random.default_rng(0)
    gates = 4 if kind == "lstm" else 3
    initial = f32(rng.uniform(-1, 1, (gates - 2, 10)))
    initial[:, DEAD] = 0
    options: dict[str, Any] = {"initial": initial} | ({"reset_first": True} if "first" in kind else {})
    whole = (lstm if kind == "lstm" else gru)(rng, 6, 10, **options)
    assert isinstance(whole.input, layers.Dense)
    assert isinstance(whole.recurrent, layers.Dense)
    parts = without(whole.input, gates, DEAD), without(whole.recurrent, gates, DEAD)
    policy = policy_with(type(whole)(*parts, **options), inputs=6)
    small = compress(policy, "prune_units(ratio=0.3)", Context(policy))
    memory = next(layer for layer in small.layers if isinstance(layer, layers.Recurrent))
    assert layers.n_units(memory) == 7
    x = walk(policy, 50)
    np.testing.assert_allclose(reference.act_episode(small, x), reference.act_episode(policy, x), atol=1e-6)


def test_two_levels_are_pruned_together() -> None:
    policy = every_memory()["lstm twice"]
    small = compress(policy, "prune_units(ratio=0.5, importance='l2')", Context(policy))
    sizes = [layers.n_units(layer) for layer in small.layers if isinstance(layer, layers.Recurrent)]
    assert sizes == [4, 4]
    assert small.model_bytes < 0.5 * policy.model_bytes
    assert compress(small, "quantize()").model_bytes < small.model_bytes


def test_what_is_not_done_is_refused() -> None:
    policies = every_memory()
    with pytest.raises(LilliputError, match="of a policy with a memory not by activation yet; use l1 or l2"):
        compress(policies["lstm"], "prune_units(ratio=0.5, importance='activation')", Context(policies["lstm"]))
    quantized = compress(policies["lstm"], "quantize()")
    with pytest.raises(LilliputError, match="prune before quantize"):
        compress(quantized, "prune_units(ratio=0.5)", Context(quantized))
