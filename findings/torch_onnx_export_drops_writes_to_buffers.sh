#!/usr/bin/env bash
# torch 2.13.0: torch.onnx.export(..., dynamo=False) of a TorchScript program drops what it writes to its buffers, and
# what it writes in place through a view of a layer's output, without an error or a warning that names it: the ONNX
# file of a policy that sums its actions up does not sum, and that of one that applies relu_ through a view has no Relu.
# Expected before: a refusal, or an ONNX file that computes what the program does at least at its first step.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet numpy==2.4.6 torch==2.13.0 onnx==1.23.2 onnxruntime==1.32.0
cat >"$folder/show.py" <<'PYTHON'
import sys
import warnings

import numpy as np
import onnxruntime
import torch

warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit and of dynamo=False


class Sums(torch.nn.Module):
    """The action is summed up in a buffer."""

    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(3, 2)
        self.register_buffer("sum", torch.zeros(1, 2))

    def forward(self, x):
        self.sum += self.net(x)
        return self.sum


class View(torch.nn.Module):
    """A ReLU in place, through a view of the layer's output."""

    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(3, 2)

    def forward(self, x):
        y = self.net(x)
        y.unsqueeze(0).relu_()
        return y


for kind in (Sums, View):
    torch.manual_seed(0)
    file = f"{sys.argv[1]}/{kind.__name__}"
    torch.jit.script(kind().eval()).save(f"{file}.pt")
    x = torch.randn(5, 1, 3)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        torch.onnx.export(torch.jit.load(f"{file}.pt"), (x[0],), f"{file}.onnx", dynamo=False)
    program, session = torch.jit.load(f"{file}.pt"), onnxruntime.InferenceSession(f"{file}.onnx")
    name = session.get_inputs()[0].name
    theirs = np.concatenate([program(row).detach().numpy() for row in x])
    ours = np.concatenate([session.run(None, {name: row.numpy()})[0] for row in x])
    with torch.no_grad():
        bare = program.net(x).numpy()[:, 0]
    apart = ours - bare  # the same number for every observation: of what was written nothing is left but a constant
    words = [str(one.message) for one in said if "buffer" in str(one.message) or "place" in str(one.message)]
    print(f"{kind.__name__}: program and ONNX file differ by {np.abs(theirs - ours).max():.2g}; warned of the write: {words}")
    assert np.abs(theirs - ours).max() > 0.1
    assert np.allclose(apart, apart[0], atol=1e-5)
    assert not words
PYTHON
"$folder/venv/bin/python" "$folder/show.py" "$folder"
