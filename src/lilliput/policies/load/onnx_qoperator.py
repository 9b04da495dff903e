"""The QOperator form of quantized ONNX files, spelled out: each operator on codes is its float one between two others.

QLinearMatMul is DequantizeLinear, MatMul, QuantizeLinear, up to the rounding of one code; likewise the rest. Only what
is read is spelled out: the file itself runs as it is, to be compared with.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from lilliput.policies.load.onnx_graph import attribute

OPERATORS: Final = ("QLinearMatMul", "QLinearConv", "QGemm", "QLinearSigmoid", "QLinearLeakyRelu", "QLinearConcat")


def spelled_out(nodes: Sequence[Any]) -> list[Any]:
    """The nodes, those of the QOperator form as several of ONNX's own each."""
    return [part for node in nodes for part in (_parts(node) if node.op_type in OPERATORS else (node,))]


def _parts(node: Any) -> Iterator[Any]:
    from onnx import helper

    given = [*node.input, "", "", ""]
    result = node.output[0]

    def made(kind: str, inputs: Sequence[str], what: str, **attributes: Any) -> Any:
        return helper.make_node(kind, list(inputs), [f"{result}/{what}"], **attributes)

    def name(what: str) -> str:
        return f"{result}/{what}"

    own = {part.name: helper.get_attribute_value(part) for part in node.attribute}
    match node.op_type:
        case "QLinearMatMul":
            yield made("DequantizeLinear", given[:3], "a")
            yield made("DequantizeLinear", given[3:6], "b", axis=1)
            yield made("MatMul", [name("a"), name("b")], "y")
            codes = given[6:8]
        case "QLinearConv":
            yield made("DequantizeLinear", given[:3], "a")
            yield made("DequantizeLinear", given[3:6], "b", axis=0)
            inputs = [name("a"), name("b")]
            if given[8]:
                yield made("Mul", [given[1], given[4]], "scale")
                yield made("DequantizeLinear", [given[8], name("scale")], "c", axis=0)
                inputs.append(name("c"))
            yield made("Conv", inputs, "y", **own)
            codes = given[6:8]
        case "QGemm":
            yield made("DequantizeLinear", given[:3], "a")
            yield made("DequantizeLinear", given[3:6], "b", axis=0 if attribute(node, "transB", 0) else 1)
            inputs = [name("a"), name("b")]
            if given[6]:
                yield made("Mul", [given[1], given[4]], "scale")
                yield made("DequantizeLinear", [given[6], name("scale")], "c", axis=0)
                inputs.append(name("c"))
            yield made("Gemm", inputs, "y", **own)
            codes = given[7:9]
        case "QLinearConcat":
            parts = [given[start : start + 3] for start in range(2, len(node.input), 3)]
            for number, part in enumerate(parts):
                yield made("DequantizeLinear", part, str(number))
            yield made("Concat", [name(str(number)) for number in range(len(parts))], "y", **own)
            codes = given[:2]
        case _:
            yield made("DequantizeLinear", given[:3], "a")
            yield made(node.op_type.removeprefix("QLinear"), [name("a")], "y", **own)
            codes = given[3:5]
    if codes[0]:
        yield helper.make_node("QuantizeLinear", [name("y"), *codes], [result])
    else:
        yield helper.make_node("Identity", [name("y")], [result])
