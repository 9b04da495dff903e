"""Arrays from literals, and the onnx package's own evaluator, with types that a checker can follow."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator


def f32(values: Any) -> np.ndarray:
    """A float32 array."""
    return np.array(values, np.float32)


def i8(values: Any) -> np.ndarray:
    """An int8 array."""
    return np.array(values, np.int8)


def i32(values: Any) -> np.ndarray:
    """An int32 array."""
    return np.array(values, np.int32)


def evaluate(model: ModelProto, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The outputs of an ONNX model by the onnx package's reference."""
    results: Any = ReferenceEvaluator(model).run(None, dict(inputs))
    return list(results)
