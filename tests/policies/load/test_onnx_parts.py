"""ONNX files that take parts of a value at fixed places, or means of parts: as torch's exporters write both."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from tests.policies.load.onnx_models import SIMPLE, WEIGHTS, build, f32, loaded, node, ran

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference, spaces
from lilliput.policies.load import load_policy

COLUMNS = [0, 3, 5, 6, 2]
PLACES = {
    "columns": COLUMNS,
    "ascending": [0, 2, 3, 5, 6],
    "tuples": [[one] for one in COLUMNS],
    "each": [COLUMNS] * 4,
    "pairs": [[[row, one] for one in COLUMNS] for row in range(4)],
    "in rows": [[[one] for one in COLUMNS]] * 4,
    "kept": [True, False, True, True, False, True, True],
    "row": [[2, 0, 1, 3, 4]],
    "wide": [4, 5],
    "before": [-7, -4, -2, -1, -5],
}
"""Of 7 numbers in 4 rows."""
DYNAMO = [node("Transpose", "obs", "t", perm=[1, 0]), node("GatherND", "t tuples", "g"), node("Transpose", "g", "o")]


@pytest.mark.parametrize(
    ("take", "batch"),
    [
        (DYNAMO, "n"),
        (DYNAMO, 1),
        ([node("GatherND", "obs pairs", "o")], 4),
        ([node("GatherND", "obs in_rows", "o", batch_dims=1)], 4),
        ([node("GatherElements", "obs each", "o", axis=1)], 4),
        ([node("GatherElements", "obs each", "o", axis=-1)], 4),
        ([node("Gather", "obs before", "o", axis=-1)], "n"),
        ([node("Gather", "obs ascending", "o", axis=1)], "n"),
        ([node("NonZero", "kept", "z"), node("Transpose", "z", "zt"), node("Squeeze", "zt last", "i"),
          node("Gather", "obs i", "o", axis=1)], "n"),
        ([node("Shape", "obs", "s"), node("Slice", "s zero one", "b"), node("Concat", "b five", "to", axis=0),
          node("Expand", "row to", "places"), node("GatherElements", "obs places", "o", axis=1)], "n"),
    ],
    ids=["a list, dynamo", "a list, dynamo, one row", "rows and columns", "a place in each row", "gather", "gather, -1",
         "from the end", "ascending", "a mask", "gather, expanded"],
)  # fmt: skip
def test_fixed_columns_are_read_however_they_are_taken(take: list[Any], batch: Any, tmp_path: Path) -> None:
    places = {key.replace(" ", "_"): np.array(value) for key, value in PLACES.items()}
    shapes = {"last": np.array([1]), "zero": np.array([0]), "one": np.array([1]), "five": np.array([5])}
    nodes = [*take, node("Gemm", "o w0 b0", "h"), *SIMPLE[1:]]
    data = build(nodes, WEIGHTS | places | shapes, [batch, 7])
    policy = loaded(data, tmp_path)
    x = f32(4 if batch != 1 else 1, 7, seed=3)
    np.testing.assert_allclose(reference.act(policy, x), ran(data, x), atol=1e-5)


@pytest.mark.parametrize(
    "take",
    [
        [node("Gemm", "obs wi", "p"), node("Cast", "p", "i", to=TensorProto.INT64), node("GatherND", "w0 i", "h")],
        [node("Gemm", "obs wi", "p"), node("ArgMax", "p", "i", axis=1, keepdims=0), node("Gather", "w0 i", "h")],
        [node("Gemm", "obs wi", "p"), node("GatherElements", "obs p", "h", axis=1)],
    ],
    ids=["a table", "a row of the largest", "of the observation"],
)
def test_places_that_the_observation_decides_are_refused(take: list[Any], tmp_path: Path) -> None:
    data = build([*take, *SIMPLE[1:]], WEIGHTS | {"wi": f32(5, 1)})
    with pytest.raises(LilliputError, match=r"places that are computed from the observation|follows the choice|INT64"):
        loaded(data, tmp_path)


@pytest.mark.parametrize(
    ("take", "what"),
    [
        (node("GatherND", "obs rows", "o"), "mixes the observations"),
        (node("GatherND", "obs far", "o", batch_dims=1), "of a value of shape"),
        (node("GatherND", "obs pairs", "o", batch_dims=-1), "of a value of shape"),
        (node("GatherElements", "obs out", "o", axis=1), "is impossible"),
        (node("Gather", "obs many", "o", axis=1), "more than any policy's value has"),
    ],
    ids=["whole rows", "rows that are not there", "an axis that is not there", "beyond the end", "without end"],
)
def test_places_that_no_observation_has_are_refused(take: Any, what: str, tmp_path: Path) -> None:
    places = {
        "rows": [[1], [0]],
        "far": [[[1]]],
        "pairs": [[0, 1]],
        "out": [[0, 1, 5, 2, 3]],
        "many": [[0] * 3000] * 900,
    }
    nodes = [take, node("Gemm", "o w0 b0", "h"), *SIMPLE[1:]]
    with pytest.raises(LilliputError, match=what):
        loaded(build(nodes, WEIGHTS | {key: np.array(value) for key, value in places.items()}), tmp_path)


QUANTILES = {"wq": f32(8, 12, seed=7), "bq": f32(12, seed=8)}
LAYER = [node("MatMul", "a wq", "m"), node("Add", "m bq", "q")]


@pytest.mark.parametrize("last", [[node("Gemm", "a wq bq", "q")], LAYER], ids=["Gemm", "MatMul, Add"])
@pytest.mark.parametrize(
    ("shape", "axis", "keep", "batch"), [([-1, 4, 3], 1, 0, "n"), ([-1, 3, 4], 2, 0, "n"), ([-1, 3, 4], -1, 1, 1),
                                         ([-1, 2, 3, 2], [1, 3], 0, "n")],
    ids=["quantiles first", "actions first", "kept", "two axes"],
)  # fmt: skip
@pytest.mark.parametrize("chosen", [True, False])
def test_qr_dqn_is_read_where_the_file_takes_the_mean_of_its_quantiles(
    last: list[Any], shape: list[int], axis: Any, keep: int, batch: Any, chosen: bool, tmp_path: Path
) -> None:
    axes = [axis] if isinstance(axis, int) else axis
    nodes = [
        *SIMPLE[:2],
        *last,
        node("Reshape", "q shape", "r"),
        node("ReduceMean", "r", "mean", axes=axes, keepdims=keep),
        node("Reshape", "mean flat", "q_values"),
        node("ArgMax", "q_values", "action", axis=1, keepdims=0),
    ]
    constants = WEIGHTS | QUANTILES | {"shape": np.array(shape), "flat": np.array([-1, 3])}
    output = ("action", TensorProto.INT64) if chosen else ("q_values", TensorProto.FLOAT)
    policy = loaded(build(nodes if chosen else nodes[:-1], constants, [batch, 5], outputs=[output]), tmp_path)
    assert policy.action_space == spaces.Discrete(3)
    assert [len(layer.weight) for layer in policy.layers if isinstance(layer, layers.Dense)] == [8, 3]
    x = f32(300, 5, seed=9)
    hidden = np.maximum(x @ WEIGHTS["w0"] + WEIGHTS["b0"], 0)
    numbers = (hidden @ QUANTILES["wq"] + QUANTILES["bq"]).reshape(shape)
    expected = numbers.mean(axis=tuple(axes)).argmax(axis=-1)
    np.testing.assert_array_equal(reference.act(policy, x), expected)


def test_means_that_no_linear_layer_takes_up_and_distributions_are_refused(tmp_path: Path) -> None:
    shape = {"shape": np.array([-1, 4, 3]), "support": f32(1, 4, 1), "one": np.array([1])}
    start = [*SIMPLE[:2], node("Gemm", "a wq bq", "q")]
    squashed = [node("Tanh", "q", "t"), node("Reshape", "t shape", "r"), node("ReduceMean", "r", "action", axes=[1])]
    atoms = [node("Reshape", "q shape", "r"), node("Softmax", "r", "p", axis=1), node("Mul", "p support", "z"),
             node("ReduceSum", "z one", "q_values")]  # fmt: skip
    with pytest.raises(LilliputError, match="ReduceMean of parts of an observation; supported: of all of it, and of a"):
        loaded(build([*start, *squashed], WEIGHTS | QUANTILES | shape), tmp_path)
    c51 = build([*start, *atoms], WEIGHTS | QUANTILES | shape, outputs=[("q_values", TensorProto.FLOAT)])
    with pytest.raises(LilliputError, match="Softmax works on parts of an observation"):
        loaded(c51, tmp_path)


@pytest.mark.parametrize("mean_first", [True, False])
def test_a_dueling_head_is_read_in_either_order(mean_first: bool, tmp_path: Path) -> None:
    mean = node("ReduceMean", "adv", "mean", axes=[1], keepdims=1)
    ends = [mean, node("Sub", "adv mean", "centred"), node("Add", "v centred", "q_values")]
    if not mean_first:
        ends = [mean, node("Add", "v adv", "sum"), node("Sub", "sum mean", "q_values")]
    heads = [node("Gemm", "a wv", "v"), node("Gemm", "a w1 b1", "adv", transB=1)]
    data = build([*SIMPLE[:2], *heads, *ends], WEIGHTS | {"wv": f32(8, 1)}, outputs=[("q_values", TensorProto.FLOAT)])
    policy = loaded(data, tmp_path)
    x = f32(300, 5, seed=3)
    np.testing.assert_array_equal(reference.act(policy, x), ran(data, x).argmax(axis=1))
    (tmp_path / "named.onnx").write_bytes(data)
    with pytest.raises(LilliputError, match="--action discrete"):
        load_policy(tmp_path / "named.onnx", action="continuous")
