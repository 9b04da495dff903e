"""Programs of torch as files, and what they do: what the reader of TorchScript is compared with."""

from pathlib import Path
from typing import Any

import numpy as np

from lilliput.policies import reference, spaces
from lilliput.policies.policy import Policy


def mlp() -> Any:
    from torch import nn

    return nn.Sequential(nn.Linear(6, 16), nn.ELU(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3))


def saved(module: Any, how: str, path: Path, shape: tuple[int, ...] = (1, 6)) -> Any:
    """The program, once it is in the file."""
    import torch

    module.eval()
    nn: Any = torch.nn
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(part.running_var, 0.5, 2.0)
            nn.init.normal_(part.running_mean)
    program: Any
    match how:
        case "script":
            program = torch.jit.script(module)
        case "trace":
            program = torch.jit.trace(module, torch.zeros(shape))
        case _:
            program = torch.jit.freeze(torch.jit.script(module))
    program.save(str(path))
    return program


def agree(policy: Policy, program: Any) -> None:
    """Asserts that both do the same, one observation at a time."""
    import torch

    x = np.random.default_rng(0).normal(size=(1000, *spaces.input_shape(policy.observation_space))).astype(np.float32)
    with torch.no_grad():
        expected = np.concatenate([program(torch.tensor(row[None])).numpy() for row in x])
    actual = reference.act(policy, x)
    if policy.is_discrete:
        assert (actual == expected).mean() > 0.999
    else:
        np.testing.assert_allclose(actual, expected, atol=1e-5)
