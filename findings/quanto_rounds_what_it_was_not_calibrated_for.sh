#!/usr/bin/env bash
# optimum-quanto 0.2.7 (torch 2.13.0): quantize(model, weights=qint8, activations=qint8) without `with Calibration():` runs with a scale
# of 1 for every activation, so that each is rounded to a whole number: actions are off by several standard
# deviations, and neither quantize nor freeze nor the forward pass says so. With one calibrating batch they are off by a tenth.
# Expected before: an error, a warning, or ranges taken at run time, as "dynamic" quantization has it.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet numpy==2.4.6 torch==2.13.0 optimum-quanto==0.2.7
"$folder/venv/bin/python" - <<'PYTHON'
import copy
import warnings

import torch
from optimum.quanto import Calibration, freeze, qint8, quantize

torch.manual_seed(0)
relu, linear = torch.nn.ReLU, torch.nn.Linear
policy = torch.nn.Sequential(linear(17, 64), relu(), linear(64, 64), relu(), linear(64, 6)).eval()
observations = torch.randn(256, 17)


@torch.no_grad()
def error(calibrated, **settings):
    """The largest error of an action in standard deviations of the actions, and the scales of the first layer."""
    small, wanted = copy.deepcopy(policy), policy(observations)
    quantize(small, weights=qint8, **settings)
    if calibrated:
        with Calibration():
            small(observations)
    freeze(small)
    return float((small(observations) - wanted).abs().max() / wanted.std()), float(small[0].output_scale)


with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    never, scale = error(False, activations=qint8)
about = [str(one.message) for one in said if "alibrat" in str(one.message) or "scale" in str(one.message)]
once, fitted = error(True, activations=qint8)
weights, _ = error(False)
print(f"weights alone {weights:.2f}; with activations: calibrated {once:.2f} (scale {fitted:.3g}), not calibrated {never:.2f} (scale {scale:g})")
print("warnings about it:", about)
assert scale == 1 and never > 3 and once < 0.3 and weights < 0.05 and not about
PYTHON
