"""Layers with a memory: what they give over an episode, against torch, onnxruntime, Keras' equations and themselves."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.arrays import f32
from tests.policies.recurrent import every_memory, gru, lstm, policy_with, walk

from lilliput.errors import LilliputError
from lilliput.policies import file as policy_file
from lilliput.policies import layers, reference
from lilliput.policies.compress import Context, compress
from lilliput.policies.policy import Policy

STEPS = 50


def played(layer: layers.Memory, x: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """What the layer gives for (steps, inputs), and what it remembers in the end."""
    state = tuple(one[None] for one in layers.initial_state(layer, x.shape[1:]))
    outputs = []
    for row in x:
        y, state = reference.remember(layer, row[None], state)
        outputs.append(y[0])
    return np.stack(outputs), state


def by_onnxruntime(
    op: str, x: np.ndarray, weights: tuple[np.ndarray, ...], states: dict[str, np.ndarray], **attributes: Any
) -> list[np.ndarray]:
    """Y, Y_h (and Y_c) of onnxruntime's own operator over a sequence, batch 1."""
    constants = dict(zip("WRB", weights, strict=True))
    names = ["x", *constants, "", *states]
    outputs = ["y", "h", "c"][: 3 if op == "LSTM" else 2]
    hidden = weights[1].shape[2]
    node = helper.make_node(op, names, outputs, hidden_size=hidden, **attributes)
    made = {**constants, **states}
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (len(x), 1, x.shape[1]))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in made.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [np.asarray(one) for one in session.run(None, {"x": x[:, None]})]


def in_order(array: np.ndarray, gates: str, wanted: str) -> np.ndarray:
    """Rows of gates in another order."""
    blocks = dict(zip(gates, np.split(array, len(gates)), strict=True))
    return np.concatenate([blocks[gate] for gate in wanted])


def onnx_weights(layer: layers.Recurrent, gates: str, wanted: str) -> tuple[np.ndarray, ...]:
    parts = (layer.input, layer.recurrent)
    assert all(isinstance(part, layers.Dense) and part.bias is not None for part in parts)
    w, r = (in_order(np.asarray(part.weight), gates, wanted)[None] for part in parts)  # type: ignore[arg-type]
    b = np.concatenate([in_order(np.asarray(part.bias), gates, wanted) for part in parts])[None]
    return w, r, b


@pytest.mark.parametrize("begins", ["zeros", "elsewhere"])
def test_an_lstm_is_the_operator_of_onnx(begins: str) -> None:
    rng = np.random.default_rng(0)
    given = f32(rng.uniform(-1, 1, (2, 9))) if begins == "elsewhere" else None
    layer, x = lstm(rng, 6, 9, initial=given), f32(rng.normal(size=(STEPS, 6)))
    first = layers.initial_state(layer, (6,))
    states = {"h0": first[0][None, None], "c0": first[1][None, None]}
    y, h, c = by_onnxruntime("LSTM", x, onnx_weights(layer, "ifgo", "iofg"), states)
    ours, (our_h, our_c) = played(layer, x)
    np.testing.assert_allclose(ours, y[:, 0, 0], atol=2e-6)
    np.testing.assert_allclose(our_h, h[0], atol=2e-6)
    np.testing.assert_allclose(our_c, c[0], atol=2e-6)


@pytest.mark.parametrize("reset_first", [False, True])
def test_a_gru_is_the_operator_of_onnx(reset_first: bool) -> None:
    rng = np.random.default_rng(1)
    layer = gru(rng, 6, 9, reset_first=reset_first, initial=f32(rng.uniform(-1, 1, (1, 9))))
    x = f32(rng.normal(size=(STEPS, 6)))
    assert layer.initial is not None
    weights, states = onnx_weights(layer, "rzn", "zrn"), {"h0": layer.initial[None]}
    y, h = by_onnxruntime("GRU", x, weights, states, linear_before_reset=int(not reset_first))
    ours, (our_h,) = played(layer, x)
    np.testing.assert_allclose(ours, y[:, 0, 0], atol=2e-6)
    np.testing.assert_allclose(our_h, h[0], atol=2e-6)
    other, _ = played(layers.Gru(layer.input, layer.recurrent, layer.initial, not reset_first), x)
    assert np.abs(other - ours).max() > 1e-3  # the two conventions are not the same network


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_recurrent_layers_are_those_of_torch(kind: str) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = getattr(torch.nn, kind)(6, 9, num_layers=2)
    x = torch.randn(STEPS, 6)
    with torch.no_grad():
        expected = module(x)[0].numpy()
    made = {name: value.detach().numpy() for name, value in module.named_parameters()}
    y = x.numpy()
    for level in range(2):
        one, two = (layers.Dense(made[f"weight_{p}_l{level}"], made[f"bias_{p}_l{level}"]) for p in ("ih", "hh"))
        y, _ = played(layers.Lstm(one, two) if kind == "LSTM" else layers.Gru(one, two), y)
    np.testing.assert_allclose(y, expected, atol=2e-6)


def test_a_history_holds_the_last_inputs_the_oldest_first() -> None:
    x = f32([[1, 2], [3, 4], [5, 6]])
    assert played(layers.History(2), x)[0].tolist() == [[0, 0, 1, 2], [1, 2, 3, 4], [3, 4, 5, 6]]


@pytest.mark.parametrize("name", every_memory())
def test_an_episode_is_its_steps_and_rows_do_not_know_each_other(name: str) -> None:
    policy = every_memory()[name]
    episodes = np.stack([walk(policy, 12, seed) for seed in range(3)])
    alone = np.stack([reference.act_episode(policy, episode) for episode in episodes])
    state, together = reference.start(policy, 3), []
    for step in range(12):
        state, actions = reference.step(policy, state, episodes[:, step])
        together.append(actions)
    np.testing.assert_array_equal(np.stack(together, axis=1), alone)
    rows = reference.Rows(policy)
    begins = np.array([step in (0, 5) for step in range(12)])
    again = [rows(episodes[:, step if step < 5 else step - 5], np.full(3, begins[step])) for step in range(12)]
    np.testing.assert_array_equal(np.stack(again, axis=1)[:, 5:], alone[:, :7])


@pytest.mark.parametrize("name", every_memory())
def test_a_step_that_cannot_be_decided_is_forgotten(name: str) -> None:
    policy = every_memory()[name]
    x = walk(policy, 10)
    broken = np.insert(x, 4, np.nan, axis=0)
    actions = reference.act_episode(policy, broken)
    assert (actions[4] == 0).all() if policy.is_discrete else np.isnan(actions[4]).all()
    np.testing.assert_array_equal(np.delete(actions, 4, axis=0), reference.act_episode(policy, x))


def test_a_policy_without_memory_has_no_state_and_the_same_actions() -> None:
    policy = Policy(*plain())
    x = walk(policy, 5)
    assert reference.start(policy, 5) == ()
    state, actions = reference.step(policy, (), x)
    assert state == ()
    np.testing.assert_array_equal(actions, reference.act(policy, x))
    np.testing.assert_array_equal(reference.act_episode(policy, x), reference.act(policy, x))


def plain() -> tuple[Any, ...]:
    policy = policy_with()
    return policy.observation_space, policy.action_space, policy.layers


def test_a_batch_is_refused_where_there_is_a_memory() -> None:
    policy = every_memory()["lstm"]
    with pytest.raises(LilliputError, match="the policy has a memory: it acts step by step"):
        reference.act(policy, walk(policy, 3))
    with pytest.raises(LilliputError, match="3 observations for a state of \\[2\\] episodes"):
        reference.step(policy, reference.start(policy, 2), walk(policy, 3))
    with pytest.raises(LilliputError, match="Lstm has a memory"):
        reference.apply(policy.layers[1], walk(policy, 3))


@pytest.mark.parametrize("name", every_memory())
def test_a_file_gives_back_what_was_written(name: str, tmp_path: Path) -> None:
    policy = every_memory()[name]
    path = tmp_path / "a.lilliput"
    policy_file.write(policy, path)
    again = policy_file.read(path)
    assert again.digest == policy.digest
    np.testing.assert_array_equal(
        reference.act_episode(again, walk(policy, 9)), reference.act_episode(policy, walk(policy, 9))
    )
    assert b'format\\": 3' in path.read_bytes()


def test_a_file_without_memory_is_of_the_format_before(tmp_path: Path) -> None:
    policy_file.write(Policy(*plain()), tmp_path / "a.lilliput")
    assert b'format\\": 2' in (tmp_path / "a.lilliput").read_bytes()


def test_what_does_not_fit_is_refused() -> None:
    rng = np.random.default_rng(0)
    whole = lstm(rng, 5, 4)
    for broken, message in (
        (layers.Lstm(whole.input, gru(rng, 5, 4).recurrent), "4 units need 16 outputs of each part"),
        (layers.Lstm(whole.input, whole.recurrent, f32(np.zeros((1, 4)))), "an initial state of shape \\[1, 4\\]"),
        (layers.Lstm(whole.recurrent, whole.recurrent), "gets an input of shape \\[5\\]"),
    ):
        with pytest.raises(LilliputError, match=message):
            policy_with(broken)
    with pytest.raises(LilliputError, match="a history holds 1 steps"):
        layers.History(1)


def test_a_step_of_compression_that_does_not_know_memory_says_so() -> None:
    policy = every_memory()["lstm"]
    with pytest.raises(LilliputError, match=r"equalize does not take a policy with a memory yet; use .*half"):
        compress(policy, "equalize()", Context(policy))
    small = compress(policy, "half()")
    assert small.model_bytes < 0.6 * policy.model_bytes
    x = walk(policy, STEPS)
    np.testing.assert_allclose(reference.act_episode(small, x), reference.act_episode(policy, x), atol=5e-3)
