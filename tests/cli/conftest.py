"""The command line in a test's own process, and something to give it."""

import sys
from pathlib import Path

import numpy as np
import pytest

from lilliput.__main__ import main
from lilliput.policies import file as policy_file
from lilliput.policies import layers, spaces
from lilliput.policies.policy import Policy, Provenance


@pytest.fixture
def run(monkeypatch, capsys):
    """The command line in this process: exit code, stdout, stderr."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["lilliput", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        return end.value.code, out, err

    return call


@pytest.fixture
def source(tmp_path) -> Path:
    """A policy's file: random weights for CartPole."""
    rng = np.random.default_rng(0)
    space = spaces.Box((4,), np.array(-np.inf), np.array(np.inf))
    stack = (
        layers.Dense(rng.normal(size=(16, 4)).astype(np.float32), np.zeros(16, np.float32)),
        layers.Tanh(),
        layers.Dense(rng.normal(size=(2, 16)).astype(np.float32), np.zeros(2, np.float32)),
        layers.ArgmaxAction((2,)),
    )
    path = tmp_path / "random.lilliput"
    policy_file.write(Policy(space, spaces.Discrete(2), stack, Provenance(environment="CartPole-v1")), path)
    return path
