"""A small classifier as an ONNX graph, and pictures whose classes are what it says of them."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

N_CLASSES = 4


def classifier(path: Path, *, seed: int = 0, size: int = 8, opset: int = 17) -> Path:
    """A convolution, ReLU, a mean over the picture and a linear layer, with random weights."""
    rng = np.random.default_rng(seed)
    weights = {
        "kernel": rng.normal(0, 0.4, (16, 3, 3, 3)),
        "bias": rng.normal(0, 0.1, 16),
        "linear": rng.normal(0, 1, (16, N_CLASSES)),
        "last": rng.normal(0, 0.1, N_CLASSES),
    }
    nodes = [
        helper.make_node("Conv", ["image", "kernel", "bias"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("Gemm", ["d", "linear", "last"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, size, size])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", N_CLASSES])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9), path)
    return path


def pictures(path: Path, model: Path, *, n: int = 60, size: int = 8, seed: int = 1) -> Path:
    """An .npz of pictures, each of the class that onnxruntime computes for it."""
    import onnxruntime

    rng = np.random.default_rng(seed)
    images = (rng.random((n, size, size, 3)) * rng.random((n, 1, 1, 3)) * 255).astype(np.uint8)
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    inputs = images.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    labels = np.asarray(session.run(None, {"image": inputs})[0]).argmax(axis=1)
    np.savez(path, images=images, labels=labels, names=np.array([f"class {n}" for n in range(N_CLASSES)]))
    return path
