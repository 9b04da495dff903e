#!/usr/bin/env bash
# onnxruntime 1.32.0: MatMulInteger of uint8 by int8 is wrong on x86-64 with AVX2 and no VNNI: sums of pairs saturate at
# int16, so 64 x 255 x 127 gives 1,048,544 instead of 2,072,640; uint8 by uint8 is exact, and so is a processor without
# AVX2. Expected before: integers are integers. Where qemu-x86_64 is installed (apt install qemu-user) a Haswell is emulated.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0
cat > "$folder/product.py" <<'PYTHON'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def product(kind, largest):
    ends = [helper.make_tensor_value_info(*e) for e in (("x", TensorProto.UINT8, [1, 64]), ("y", TensorProto.INT32, [1, 8]))]
    weight = numpy_helper.from_array(np.full((64, 8), largest, kind), "w")
    graph = helper.make_graph([helper.make_node("MatMulInteger", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return int(session.run(None, {"x": np.full((1, 64), 255, np.uint8)})[0][0, 0])


print(product(np.int8, 127), product(np.uint8, 255))
PYTHON
python="$folder/venv/bin/python"
flags="$(grep -m1 '^flags' /proc/cpuinfo)"
here="$("$python" "$folder/product.py")"
echo "this processor: $here"
if [[ $flags == *avx2* && $flags != *vnni* ]]; then wanted="1048544 4161600"; else wanted="2072640 4161600"; fi
[[ $here == "$wanted" ]]
if command -v qemu-x86_64 > /dev/null; then
    for processor in Haswell Nehalem; do
        told="$(qemu-x86_64 -cpu "$processor" "$python" "$folder/product.py" 2> /dev/null)"
        echo "$processor: $told"
        if [[ $processor == Haswell ]]; then [[ $told == "1048544 4161600" ]]; else [[ $told == "2072640 4161600" ]]; fi
    done
fi
