#!/usr/bin/env bash
# Multiply-accumulates of one decision, as told by torchinfo 1.8.0, thop 0.1.1 and FlopCounterMode of torch 2.13.0 (whose FLOPs are
# halved), each without a warning. torchinfo multiplies a Linear's weights by the batch, not by the positions of a sequence
# (a sixteenth of 16 tokens'), and a GRUCell's by the number of its units (33 times too many). None of the three counts anything of
# nn.MultiheadAttention in eval mode. torch counts a GRU and no LSTM on the processor. Which of two policies is the smaller one
# depends on who is asked. Linear layers of one observation are told right by all three (biases aside).
# Expected before: agreement up to biases and activations, or a word about what is not known.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet numpy==2.4.6 torch==2.13.0 torchinfo==1.8.0 thop==0.1.1.post2209072238 setuptools==80.10.2
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import contextlib
import io
import logging

import thop
import torch
import torchinfo
from torch.utils.flop_counter import FlopCounterMode


class Attention(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = torch.nn.MultiheadAttention(32, 4, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x, need_weights=False)[0]


def by_torch(network, x):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(x)
    return counter.get_total_flops() / 2


nn = torch.nn
cases = {
    "Linear, one observation": (nn.Linear(64, 64), (1, 64), 64 * 64),
    "Linear, 16 tokens": (nn.Linear(64, 64), (1, 16, 64), 16 * 64 * 64),
    "GRUCell": (nn.GRUCell(17, 32), (1, 17), 3 * 32 * (17 + 32)),
    "GRU, 10 steps": (nn.GRU(17, 32, batch_first=True), (1, 10, 17), 10 * 3 * 32 * (17 + 32)),
    "LSTM, 10 steps": (nn.LSTM(17, 32, batch_first=True), (1, 10, 17), 10 * 4 * 32 * (17 + 32)),
    "MultiheadAttention, 16 tokens": (Attention(), (1, 16, 32), 16 * 4 * 32 * 32 + 2 * 16 * 16 * 32),
}
told, said = {}, io.StringIO()
logging.basicConfig(stream=said, level=logging.WARNING)
with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
    for name, (network, shape, _) in cases.items():
        x = torch.zeros(shape)
        told[name] = (
            torchinfo.summary(network.eval(), input_size=shape, verbose=0).total_mult_adds,
            thop.profile(network, inputs=(x,))[0],
            by_torch(network, x),
        )
share = {name: [count / cases[name][2] for count in counts] for name, counts in told.items()}
print("share of the right number by: torchinfo, thop, torch")
for name, shares in share.items():
    print(f"{name}: " + ", ".join(f"{one:.3g}" for one in shares))
print("said:", said.getvalue().strip().replace("\n", "; "))
assert all(abs(one - 1) < 0.05 for one in share["Linear, one observation"])
assert share["Linear, 16 tokens"][0] < 0.07 and share["GRUCell"][0] > 30
assert share["MultiheadAttention, 16 tokens"] == [0, 0, 0]
assert share["GRU, 10 steps"][2] == 1 and share["LSTM, 10 steps"][2] == 0
assert all(0.9 < one < 1.1 for name in ("GRU, 10 steps", "LSTM, 10 steps") for one in share[name][:2])
assert not any(word in said.getvalue() for word in ("WARN", "Cannot find", "nsupported", "Attention"))
PYTHON
