"""Whether an ONNX file is of the closed kind that the exporter writes, read without the onnx package (30 MB of memory).

Files come from anywhere. Nothing is left to onnxruntime that could read another file (external data) or run without end
(loops, functions, subgraphs): https://github.com/onnx/onnx/blob/main/onnx/onnx.proto has the field numbers.
"""

from collections.abc import Iterator

from lilliput.errors import LilliputError

MAX_BYTES = 1 << 30

OPERATORS = frozenset(
    (
        "Add", "ArgMax", "BitShift", "Cast", "Clip", "Concat", "Conv", "ConvInteger", "Div", "DynamicQuantizeLinear",
        "Elu", "Equal", "Erf", "Flatten", "Gather", "Gemm", "IsNaN", "LayerNormalization", "LeakyRelu", "MatMul",
        "MatMulInteger", "Max", "Min", "Mul", "QuantizeLinear", "ReduceMax", "ReduceMin", "ReduceSum", "Relu",
        "Reshape", "Round", "Sigmoid", "Slice", "Softplus", "Split", "Sub", "Tanh", "Where",
    )
)  # fmt: skip

_MODEL = {1, 2, 3, 4, 5, 6, 7, 8, 14}
_GRAPH = {1, 2, 5, 10, 11, 12, 13}
_NODE = {1, 2, 3, 4, 5, 6, 7}
_ATTRIBUTE = {1, 2, 3, 4, 7, 8, 9, 13, 20}
_TENSOR = {1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12}


def check_file(data: bytes) -> None:
    """Check that the bytes are an ONNX file as the exporter writes it.

    Raises:
        LilliputError: the bytes are no ONNX file, or hold what the exporter never writes.
    """
    if len(data) > MAX_BYTES:
        raise LilliputError(f"the model has {len(data)} bytes; at most {MAX_BYTES} are read")
    view = memoryview(data)
    for number, value in _fields(view, _MODEL, "model"):
        if number == 7:
            _check_graph(_message(value))


def _check_graph(graph: memoryview) -> None:
    for number, value in _fields(graph, _GRAPH, "graph"):
        if number == 1:
            _check_node(_message(value))
        elif number == 5:
            for _ in _fields(_message(value), _TENSOR, "constant"):
                pass


def _check_node(node: memoryview) -> None:
    for number, value in _fields(node, _NODE, "node"):
        text = bytes(_message(value)).decode(errors="replace")
        if number == 4 and text not in OPERATORS:
            raise LilliputError(
                f"the model has the operator {text[:40]!r}; an artifact holds only what `lilliput export` writes"
            )
        if number == 7 and text:
            raise LilliputError(f"the model has operators of {text[:40]!r}; an artifact holds only standard ones")
        if number == 5:
            for _ in _fields(_message(value), _ATTRIBUTE, "attribute"):
                pass


def _message(value: memoryview | int) -> memoryview:
    if isinstance(value, int):
        raise LilliputError("the model is not an ONNX file, or damaged")
    return value


def _fields(message: memoryview, allowed: set[int], name: str) -> Iterator[tuple[int, memoryview | int]]:
    """Number and value of each field: the bytes of one that has a length, 0 for any other."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        value: memoryview | int = 0
        match kind:
            case 0:
                _, at = _varint(message, at)
            case 1:
                at += 8
            case 2:
                length, at = _varint(message, at)
                value = message[at : at + length]
                at += length
            case 5:
                at += 4
            case _:
                raise LilliputError("the model is not an ONNX file, or damaged")
        if at > len(message):
            raise LilliputError("the model is not an ONNX file, or cut short")
        if number not in allowed:
            raise LilliputError(
                f"the model's {name} has the field {number}, which an artifact never has (external data, ...)"
            )
        yield number, value


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise LilliputError("the model is not an ONNX file, or cut short")
