"""Channels that are removed: nothing changes where they said nothing, whatever stands around them."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lilliput.errors import LilliputError, NotApplicable
from lilliput.models.compress import compress
from lilliput.models.compress.channels import channels_of
from lilliput.models.compress.prune_units import PruneUnits
from lilliput.models.linear import groups_of_four, in_graph, still_zero
from lilliput.models.load import load_model
from lilliput.models.model import Graph
from lilliput.models.session import open_session
from lilliput.models.task import parse_task

EXAMPLES = Path(__file__).parents[3] / "examples" / "models"
DIGITS = str(EXAMPLES / "digits.npz")


class Maker:
    """A graph that is written layer by layer."""

    def __init__(self, seed=0):
        self.rng, self.nodes, self.weights = np.random.default_rng(seed), [], []

    def constant(self, array):
        self.weights.append(numpy_helper.from_array(np.asarray(array), f"w{len(self.weights)}"))
        return self.weights[-1].name

    def node(self, kind, *inputs, **settings):
        self.nodes.append(helper.make_node(kind, list(inputs), [f"t{len(self.nodes)}"], **settings))
        return self.nodes[-1].output[0]

    def conv(self, x, before, after, *, dead=(), depthwise=False, stride=1):
        """A 3 x 3 convolution whose channels in `dead` give 0."""
        shape = (after, 1 if depthwise else before, 3, 3)
        weight, bias = self.rng.normal(0, 0.3, shape), self.rng.normal(0, 0.3, after)
        weight[list(dead)] = bias[list(dead)] = 0
        names = [self.constant(array.astype(np.float32)) for array in (weight, bias)]
        group = before if depthwise else 1
        return self.node("Conv", x, *names, pads=[1, 1, 1, 1], strides=[stride, stride], group=group)

    def linear(self, x, before, after):
        weight = self.constant(self.rng.normal(0, 0.3, (before, after)).astype(np.float32))
        return self.node("Gemm", x, weight, self.constant(np.zeros(after, np.float32)))

    def save(self, path, output, shape):
        graph = helper.make_graph(
            self.nodes,
            "made",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 8, 8])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", *shape])],
            self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, path)
        return load_model(str(path), family="classification")


def graph(model):
    assert isinstance(model.network, Graph)
    return model.network.proto


DEAD = (1, 4, 6, 7)


def chain(make):
    """One after the other, with a depthwise one, and pixels that become a row."""
    x = make.node("Relu", make.conv("image", 3, 8, dead=DEAD))
    x = make.node("Relu", make.conv(x, 8, 8, dead=DEAD, depthwise=True))
    x = make.node("MaxPool", make.conv(x, 8, 8, dead=DEAD), kernel_shape=[4, 4], strides=[4, 4])
    return make.linear(make.node("Flatten", x), 32, 5), [5]


def residual(make):
    """What is added loses the same channels, and zeros that stand in for channels go with those they are added to."""
    x = make.node("Relu", make.conv("image", 3, 8, dead=DEAD))
    y = make.conv(make.node("Relu", make.conv(x, 8, 8, dead=(0, 2, 3, 5))), 8, 8, dead=DEAD)
    x = make.node("Relu", make.node("Add", x, y))
    pads = make.constant(np.array([0, 4, 0, 0, 0, 4, 0, 0], np.int64))
    wide = make.node("Pad", x, pads)
    late = [n + 4 for n in DEAD] + [0, 3, 12, 13]
    y = make.conv(x, 8, 16, dead=late)
    x = make.node("GlobalAveragePool", make.node("Relu", make.node("Add", wide, y)))
    return make.linear(make.node("Flatten", x), 16, 5), [5]


def joined(make):
    """Channels side by side, of a layer and of a gate on it, with a factor and an offset of each."""
    x = make.conv("image", 3, 8, dead=DEAD)
    x = make.node("Mul", x, make.constant(np.arange(1, 9, dtype=np.float32).reshape(1, 8, 1, 1)))
    gate = make.node("Sigmoid", make.conv("image", 3, 8, dead=DEAD))
    gated = make.node("Mul", x, gate)
    other = make.node(
        "Clip", make.conv("image", 3, 8, dead=DEAD), make.constant(np.float32(0)), make.constant(np.float32(6))
    )
    both = make.node("Concat", gated, other, axis=1)
    up = make.node("Resize", both, "", make.constant(np.array([1, 1, 2, 2], np.float32)), mode="nearest")
    x = make.node("ReduceMean", make.conv(up, 16, 8, dead=DEAD), axes=[2, 3], keepdims=0)
    return make.linear(x, 8, 5), [5]


def shared(make):
    """Two layers with one bias of zeros, as exporters merge them."""
    zeros = make.constant(np.zeros(8, np.float32))
    x = "image"
    for before in (3, 8):
        weight = make.rng.normal(0, 0.3, (8, before, 3, 3)).astype(np.float32)
        weight[list(DEAD) if before == 3 else [0, 2, 3, 5]] = 0
        x = make.node("Relu", make.node("Conv", x, make.constant(weight), zeros, pads=[1, 1, 1, 1]))
    x = make.node("Flatten", make.node("GlobalAveragePool", x))
    return make.linear(x, 8, 5), [5]


def answers(model, seed=0):
    image = np.random.default_rng(seed).normal(size=(4, 3, 8, 8)).astype(np.float32)
    (found,) = open_session(model, n_threads=1).answer({"image": image}).values()
    return found


@pytest.mark.parametrize("made", [chain, residual, joined, shared])
def test_channels_that_say_nothing_go_and_no_answer_changes(made, tmp_path):
    make = Maker()
    model = make.save(tmp_path / "model.onnx", *made(make))
    small = compress(model, "prune_units(ratio=0.5)")
    assert small.n_parameters < 0.6 * model.n_parameters
    np.testing.assert_allclose(answers(small), answers(model), rtol=1e-5, atol=1e-5)
    # What is left is what was not zero: as many again cannot go without a change.
    smaller = compress(small, "prune_units(ratio=0.5)")
    assert np.abs(answers(smaller) - answers(model)).max() > 1e-3


def test_what_mixes_channels_keeps_them(tmp_path):
    make = Maker()
    x = make.node("Softmax", make.conv("image", 3, 8, dead=DEAD), axis=1)
    x = make.node("Flatten", make.node("GlobalAveragePool", make.conv(x, 8, 8, dead=DEAD)))
    model = make.save(tmp_path / "model.onnx", make.linear(x, 8, 5), [5])
    small = compress(model, "prune_units(ratio=0.5)")
    shapes = [weight.array.shape for weight in in_graph(graph(small))]
    assert shapes == [(8, 3, 3, 3), (4, 8, 3, 3), (4, 5)]
    np.testing.assert_allclose(answers(small), answers(model), rtol=1e-5, atol=1e-5)


def test_a_graph_whose_channels_all_stay_has_nothing_to_remove(tmp_path):
    make = Maker()
    model = make.save(tmp_path / "model.onnx", make.conv("image", 3, 8), [8, 8, 8])
    with pytest.raises(NotApplicable):
        compress(model, "prune_units(ratio=0.5)")


def test_the_least_channels_go_by_their_norm(tmp_path):
    make = Maker()
    x = make.node("Flatten", make.node("GlobalAveragePool", make.conv("image", 3, 8)))
    model = make.save(tmp_path / "model.onnx", make.linear(x, 8, 5), [5])
    weight, bias = (numpy_helper.to_array(one) for one in graph(model).graph.initializer[:2])
    norm = np.sqrt((weight.reshape(8, -1) ** 2).sum(axis=1) + bias**2)
    small = compress(model, "prune_units(ratio=0.4)")
    left = next(in_graph(graph(small))).array
    np.testing.assert_array_equal(left, weight[np.sort(np.argsort(norm)[3:])])


@pytest.mark.parametrize(
    ("n", "ratio", "multiple", "left"),
    [
        (16, 0.3, 1, 12),
        (16, 0.3, 8, 8),
        (32, 0.3, 8, 16),
        (64, 0.3, 8, 40),
        (8, 0.3, 8, 8),
        (10, 0.3, 8, 8),
        (16, 0.05, 8, 16),
    ],
)
def test_what_is_left_is_a_multiple(n, ratio, multiple, left):
    assert n - PruneUnits(ratio=ratio, multiple=multiple).n_removed(n) == left


def test_tensors_that_more_than_one_layer_makes_are_one_class(tmp_path):
    make = Maker()
    model = make.save(tmp_path / "model.onnx", *residual(make))
    found = channels_of(graph(model))
    # The stream of 8, what is inside of its block, and the 8 that the wider stream has more.
    assert sorted(len(units) for units in found.classes()) == [8, 8, 8]


@pytest.fixture(scope="module")
def digits():
    return load_model(str(EXAMPLES / "classifier.onnx"), family="classification")


def accuracy(model):
    task = parse_task(f"classification(images={DIGITS!r})")
    return task.score(task.ask(model, open_session(model, n_threads=1)).values)


@pytest.mark.parametrize(
    "recipe",
    [
        "prune_units(ratio=0.3, multiple=8) | quantize()",
        "prune_weights(sparsity=0.5) | prune_units(ratio=0.25)",
        "prune_units(ratio=0.25) | prune_weights(sparsity=0.5)",
        "prune_weights(sparsity=0.5) | half()",
        "prune_weights(sparsity=0.5) | quantize()",
        "quantize() | prune_weights(sparsity=0.5)",
        "quantize(scheme='static', source={data!r}, observations=50) | prune_weights(sparsity=0.5)",
    ],
)
def test_hybrids_in_both_orders_are_measured_on_the_final_weights(digits, recipe):
    small = compress(digits, recipe.format(data=DIGITS))
    assert small.model_bytes < digits.model_bytes
    assert "prune_units" in recipe or accuracy(small) > 0.5
    found = still_zero(small)
    assert found is not None
    if "prune_weights" in recipe:
        assert found[0] > 0
        assert found[1] == found[0]
    else:
        assert found == (0, 0)


def test_a_mask_that_a_later_step_breaks_is_counted(digits):
    import dataclasses

    pruned = compress(digits, "prune_weights(sparsity=0.5)")
    proto = onnx.ModelProto()
    proto.CopyFrom(graph(pruned))
    name = next(iter(pruned.pruned))
    tensor = next(one for one in proto.graph.initializer if one.name == name)
    array = numpy_helper.to_array(tensor).copy()
    array[pruned.pruned[name]] = 1e-6
    tensor.CopyFrom(numpy_helper.from_array(array, name))
    broken = dataclasses.replace(pruned, network=Graph(proto))
    n, still = still_zero(broken) or (0, 0)
    assert n - still == np.count_nonzero(pruned.pruned[name])
    assert groups_of_four(pruned)[1] > groups_of_four(broken)[1]


def test_a_pattern_of_two_in_four_is_found_in_every_group(digits, tmp_path):
    make = Maker()
    x = make.node("Flatten", make.node("GlobalAveragePool", make.node("Relu", make.conv("image", 3, 8))))
    model = make.save(tmp_path / "model.onnx", make.linear(x, 8, 5), [5])
    with pytest.raises(LilliputError, match="27 inputs"):
        compress(model, "prune_weights(sparsity=0.5, pattern='2:4')")
    flat = Maker(1)
    x = flat.node("Flatten", "image")
    model = flat.save(tmp_path / "flat.onnx", flat.linear(flat.node("Relu", flat.linear(x, 192, 8)), 8, 5), [5])
    small = compress(model, "prune_weights(sparsity=0.5, pattern='2:4') | quantize()")
    assert groups_of_four(small) == (8 * 48 + 5 * 2, 8 * 48 + 5 * 2)


@pytest.mark.frameworks
def test_a_graph_that_is_trained_computes_what_onnxruntime_does(digits, tmp_path):
    torch = pytest.importorskip("torch")
    from lilliput.models.compress.trainable import Trainable

    for made in (chain, residual, joined):
        make = Maker(3)
        model = make.save(tmp_path / f"{made.__name__}.onnx", *made(make))
        image = np.random.default_rng(0).normal(size=(4, 3, 8, 8)).astype(np.float32)
        (ours,) = Trainable(graph(model))({"image": torch.from_numpy(image)})
        np.testing.assert_allclose(ours.detach().numpy(), answers(model), rtol=1e-4, atol=1e-5)


@pytest.mark.frameworks
def test_training_brings_back_what_pruning_took(digits):
    pytest.importorskip("torch")
    pruned = compress(digits, "prune_units(ratio=0.25) | prune_weights(sparsity=0.3)")
    recipe = (
        f"prune_units(ratio=0.25) | prune_weights(sparsity=0.3) | finetune(steps=80, source={DIGITS!r}) | quantize()"
    )
    trained = compress(digits, recipe)
    assert accuracy(trained) > accuracy(pruned) + 0.1
    n, still = still_zero(trained) or (0, 0)
    assert n == still > 0
