"""The file of a model that a study keeps and sends to other machines."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.models.made import small_folder

from lilliput.errors import LilliputError
from lilliput.models import file
from lilliput.models.compress import compress
from lilliput.models.load import load_model


def test_a_model_s_file_holds_the_model(tmp_path):
    model = load_model(str(small_folder(tmp_path / "folder")))
    file.write(model, tmp_path / "one")
    file.write(model, tmp_path / "other")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    again = file.read(tmp_path / "one")
    assert (again.digest, again.provenance) == (model.digest, model.provenance)
    with pytest.raises(LilliputError, match="as it was loaded"):
        file.write(compress(model, "half()"), tmp_path / "small")
    broken = bytearray((tmp_path / "one").read_bytes())
    at = len(broken) // 2
    broken[at] ^= 0x55
    (tmp_path / "broken").write_bytes(broken)
    with pytest.raises(LilliputError, match="damaged"):
        file.read(tmp_path / "broken")
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(LilliputError, match="not a model's file"):
        file.read(tmp_path / "empty")


def test_a_graph_s_file_holds_the_graph(tmp_path):
    from onnx import TensorProto, helper, numpy_helper, save

    weight = numpy_helper.from_array(np.eye(3, 4, dtype=np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
        [weight],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "graph.onnx")
    model = load_model(str(tmp_path / "graph.onnx"), family="generation")
    again = file.read(file.write(model, tmp_path / "kept"))
    assert (again.digest, again.provenance, again.family) == (model.digest, model.provenance, "generation")
