"""ONNX files with an LSTM or GRU whose state comes in and goes out: onnxruntime and torch are the oracles."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference
from lilliput.policies.load import load_policy
from lilliput.policies.policy import Policy

INPUTS, UNITS, ACTIONS, STEPS = 5, 4, 2, 50


def written(path: Path, kind: str, **changed: Any) -> Path:
    """As rsl_rl exports it (obs, h_in, c_in -> actions, h_out, c_out), but for what is changed."""
    given: dict[str, Any] = {"levels": 1, "reset": 1, "swapped": False, "forgets": False, "fixed": False, "also": False}
    given |= changed
    rng, gates = np.random.default_rng(0), {"LSTM": 4, "GRU": 3}[kind]
    names = ("h", "c") if kind == "LSTM" else ("h",)
    constants: dict[str, np.ndarray] = {"zero": np.array([0]), "one": np.array([1])}
    nodes = [helper.make_node("Unsqueeze", ["obs", "zero"], ["x0"])]
    for level in range(given["levels"]):
        width = UNITS if level else INPUTS
        shapes = {"W": (1, gates * UNITS, width), "R": (1, gates * UNITS, UNITS), "B": (1, 2 * gates * UNITS)}
        constants |= {f"{key}{level}": rng.normal(size=shape).astype("f4") for key, shape in shapes.items()}
        states = []
        for name in names:
            states.append(f"{name}_in{level}" if given["levels"] > 1 else f"{name}_in")
            if given["fixed"]:
                states[-1] = f"{name}_fixed"
                constants[states[-1]] = np.zeros((1, 1, UNITS), "f4")
            elif given["levels"] > 1:
                constants |= {f"from{level}": np.array([level]), f"to{level}": np.array([level + 1])}
                nodes.append(
                    helper.make_node("Slice", [f"{name}_in", f"from{level}", f"to{level}", "zero"], [states[-1]])
                )
        new = [f"{name}_new{level}" for name in names]
        options = {"linear_before_reset": given["reset"]} if kind == "GRU" else {}
        nodes += [
            helper.make_node(
                kind, [f"x{level}", f"W{level}", f"R{level}", f"B{level}", "", *states], [f"y{level}", *new],
                hidden_size=UNITS, **options,
            ),
            helper.make_node("Squeeze", [f"y{level}", "one"], [f"x{level + 1}"]),
        ]  # fmt: skip
    last = f"x{given['levels']}"
    constants |= {"A": rng.normal(size=(ACTIONS, UNITS)).astype("f4"), "b": rng.normal(size=ACTIONS).astype("f4")}
    nodes += [
        helper.make_node("Squeeze", [last, "zero"], ["z"]),
        helper.make_node("Gemm", ["z", "A", "b"], ["plain"], transB=1),
        helper.make_node("Add", ["plain", "extra"], ["actions"]) if given["also"] else
        helper.make_node("Identity", ["plain"], ["actions"]),
    ]  # fmt: skip
    if given["also"]:
        constants["some"] = np.zeros((UNITS, ACTIONS), "f4")
        nodes[-1:-1] = [
            helper.make_node("Squeeze", ["h_in", "zero"], ["h_row"]),
            helper.make_node("MatMul", ["h_row", "some"], ["extra"]),
        ]
    outs = list(reversed(names)) if given["swapped"] else list(names)
    for name, to in zip(names, outs, strict=True):
        parts = [f"{to}_new{level}" for level in range(given["levels"])]
        nodes.append(helper.make_node("Concat", parts, [f"{name}_out"], axis=0))

    def value(name: str, *shape: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    state = (given["levels"], 1, UNITS)
    kept = () if given["forgets"] else tuple(value(f"{name}_out", *state) for name in names)
    graph = helper.make_graph(
        nodes,
        "policy",
        [value("obs", 1, INPUTS), *(() if given["fixed"] else (value(f"{name}_in", *state) for name in names))],
        [value("actions", 1, ACTIONS), *kept],
        [numpy_helper.from_array(array, key) for key, array in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def played(path: Path, x: np.ndarray) -> np.ndarray:
    """By onnxruntime, each new state given back."""
    session = onnxruntime.InferenceSession(path)
    state = {one.name: np.zeros(one.shape, "f4") for one in session.get_inputs() if one.name != "obs"}
    rows = []
    for row in x:
        actions, *new = session.run(None, {"obs": row[None], **state})
        state = dict(zip(state, new, strict=True))
        rows.append(np.asarray(actions)[0])
    return np.stack(rows)


def walked(seed: int = 0) -> np.ndarray:
    return np.cumsum(np.random.default_rng(seed).normal(0, 0.3, (STEPS, INPUTS)), axis=0).astype("f4")


@pytest.mark.parametrize(
    ("kind", "changed"),
    [("LSTM", {}), ("LSTM", {"levels": 2}), ("GRU", {}), ("GRU", {"reset": 0}), ("GRU", {"levels": 2, "reset": 0})],
)
def test_it_acts_as_onnxruntime_runs_it(kind: str, changed: dict[str, Any], tmp_path: Path) -> None:
    path = written(tmp_path / "policy.onnx", kind, **changed)
    policy = load_policy(path)
    found = [layer for layer in policy.layers if isinstance(layer, layers.Recurrent)]
    assert len(found) == changed.get("levels", 1)
    assert all(isinstance(one, layers.Lstm if kind == "LSTM" else layers.Gru) for one in found)
    if kind == "GRU":
        assert [one.reset_first for one in found if isinstance(one, layers.Gru)] == [not changed.get("reset", 1)] * len(
            found
        )
    np.testing.assert_allclose(reference.act_episode(policy, walked()), played(path, walked()), atol=2e-5)
    assert any("taken as zeros" in guess for guess in policy.provenance.guesses)


@pytest.mark.parametrize(
    ("kind", "changed", "message"),
    [
        ("LSTM", {"fixed": True}, "it starts anew at each decision, or .*; export it with the state as inputs"),
        ("LSTM", {"forgets": True}, "no output of the file is the next value of its input"),
        ("GRU", {"also": True}, "the memory of its GRU does not come from an input of its own"),
    ],
)
def test_what_is_no_memory_of_this_kind_is_refused(
    kind: str, changed: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(LilliputError, match=message):
        load_policy(written(tmp_path / "policy.onnx", kind, **changed))


@pytest.mark.parametrize(
    ("kind", "said", "message"),
    [
        ("GRU", {"activations": ["Sigmoid", "Relu"]}, "other activations"),
        ("LSTM", {"activations": ["Sigmoid", "Relu", "Relu"]}, "other activations"),
        ("GRU", {"clip": 0.3}, "clip"),
        ("LSTM", {"clip": 0.3}, "clip"),
        ("LSTM", {"input_forget": 1}, "coupled gates"),
    ],
)
def test_what_a_node_says_of_its_cell_is_never_ignored(
    kind: str, said: dict[str, Any], message: str, tmp_path: Path
) -> None:
    plain, other = written(tmp_path / "plain.onnx", kind), tmp_path / "other.onnx"
    model = onnx.load(plain)
    node = next(one for one in model.graph.node if one.op_type == kind)
    node.attribute.extend(helper.make_attribute(key, value) for key, value in said.items())
    onnx.save(model, other)
    assert np.abs(played(plain, walked()) - played(other, walked())).max() > 0.01, "it changes what the file computes"
    with pytest.raises(LilliputError, match=message):
        load_policy(other)


def test_which_output_goes_back_in_is_read_from_the_graph_and_said_where_names_say_otherwise(tmp_path: Path) -> None:
    plain, swapped = (load_policy(written(tmp_path / f"{on}.onnx", "LSTM", swapped=on)) for on in (False, True))
    assert plain.digest == swapped.digest
    said = "by the graph the output 'c_out' goes back in as 'h_in'"
    assert said in swapped.provenance.guesses
    assert not any("goes back in" in guess for guess in plain.provenance.guesses)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_what_torch_exports_acts_as_torch(kind: str, tmp_path: Path) -> None:
    """rsl_rl's exporter: a normalizer, the memory, an MLP."""
    torch = pytest.importorskip("torch")

    class Exported(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = getattr(torch.nn, kind)(INPUTS, UNITS)
            self.mlp = torch.nn.Sequential(torch.nn.Linear(UNITS, 6), torch.nn.ELU(), torch.nn.Linear(6, ACTIONS))
            self.mean, self.std = torch.arange(INPUTS).float(), torch.full((INPUTS,), 2.0)

        def forward(self, obs: Any, *state: Any) -> Any:
            x, new = self.rnn(((obs - self.mean) / self.std).unsqueeze(0), state if kind == "LSTM" else state[0])
            return self.mlp(x.squeeze(0)), *(new if kind == "LSTM" else (new,))

    torch.manual_seed(0)
    module, names = Exported().eval(), ["h", "c"] if kind == "LSTM" else ["h"]
    example = (torch.zeros(1, INPUTS), *(torch.zeros(1, 1, UNITS) for _ in names))
    path = tmp_path / "policy.onnx"
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, example, path, dynamo=False, opset_version=17,
            input_names=["obs", *(f"{one}_in" for one in names)],
            output_names=["actions", *(f"{one}_out" for one in names)],
        )  # fmt: skip
    policy = load_policy(path)
    assert isinstance(policy, Policy)
    assert isinstance(policy.layers[0], layers.Standardize | layers.Recurrent)
    state, rows = example[1:], []
    with torch.no_grad():
        for row in walked():
            actions, *state = module(torch.from_numpy(row[None]), *state)
            rows.append(actions[0].numpy())
    np.testing.assert_allclose(reference.act_episode(policy, walked()), np.stack(rows), atol=2e-5)
