"""Every row of the table of torch's activations, against torch."""

from typing import Any, get_args

import numpy as np
import pytest

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference
from lilliput.policies.load.torch_activation import BY_CLASS, ROWS, TorchActivation

X = np.linspace(-9.0, 9.0, 400, dtype=np.float32)[None]
ARGUMENTS: dict[str, dict[str, Any]] = {
    "ELU": {"alpha": 0.3},
    "LeakyReLU": {"negative_slope": 0.2},
    "Hardtanh": {"min_val": -0.5, "max_val": 2.0},
}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.kind)
def test_an_activation_is_what_torch_computes(row: TorchActivation):
    torch = pytest.importorskip("torch")
    for given in ({}, ARGUMENTS.get(row.kind, {})):
        module = getattr(torch.nn, row.kind)(**given)
        layer = row.with_arguments(vars(module), "policy.pt") if row.pickled else row.layer
        expected = module(torch.tensor(X)).numpy()
        np.testing.assert_allclose(reference.apply(layer, X), expected, rtol=1e-5, atol=1e-6)
        if not given:
            assert BY_CLASS[row.kind] == (layer,)


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        ("GELU", {"approximate": "tanh"}, "GELU with approximate='tanh'"),
        ("ELU", {"alpha": "1"}, "alpha is '1'; it must be a number"),
        ("Hardtanh", {"min_val": None}, "min_val is None"),
    ],
)
def test_an_argument_that_changes_what_is_computed_is_refused(kind: str, given: dict[str, Any], message: str):
    row = next(row for row in ROWS if row.kind == kind)
    with pytest.raises(LilliputError, match=message):
        row.with_arguments(given, "policy.pt")


def test_every_kind_of_activation_is_some_class_of_torch():
    """A new layer has its row, or is not in the union."""
    assert {type(row.layer) for row in ROWS} == set(get_args(layers.Activation))
