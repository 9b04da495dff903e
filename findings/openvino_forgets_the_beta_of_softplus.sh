#!/usr/bin/env bash
# OpenVINO 2026.4.1, convert_model of a torch 2.13.0 module: softplus(x, beta=2), which policies make a standard deviation of, becomes
# softplus(x), six times as large at -1.27; logsigmoid(-100), the log-probability of a Bernoulli action, is minus infinity instead of
# -100. No warning. softplus(2 x) / 2, written out, and log-probabilities above -87 are right.
# Expected before: what torch computes, up to float32's rounding, or a refusal.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet numpy==2.4.6 torch==2.13.0 openvino==2026.4.1
"$folder/venv/bin/python" -W error::UserWarning - <<'PYTHON'
import numpy as np
import openvino
import torch
from torch.nn import functional


class Function(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def both(function, *inputs):
    """What torch answers, and what OpenVINO does in float32."""
    module = Function(function).eval()
    model = openvino.convert_model(module, example_input=inputs)
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return module(*inputs).numpy(), np.array(compiled([array.numpy() for array in inputs])[0])


x = torch.tensor([[-1.27, -0.62, 0.34, 1.96]])
wanted, given = both(lambda x: functional.softplus(x, beta=2.0), x)
print("softplus, beta 2:", wanted, given)
assert np.allclose(given, functional.softplus(x).numpy(), atol=1e-5) and given[0, 0] > 6 * wanted[0, 0]
wanted, given = both(lambda x: functional.softplus(2 * x) / 2, x)
print("written out:", wanted, given)
assert np.allclose(given, wanted, atol=1e-5)

wanted, given = both(functional.logsigmoid, torch.tensor([[-100.0, -80.0, -1.0, 1.0]]))
print("logsigmoid:", wanted, given)
assert wanted[0, 0] == -100 and np.isneginf(given[0, 0]) and np.allclose(given[0, 1:], wanted[0, 1:], atol=1e-4)
PYTHON
