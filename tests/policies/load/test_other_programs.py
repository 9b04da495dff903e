"""Files of programs whose own format is not read, and their ways out, written by the programs themselves.

`fixtures/load/training/make_others.py` makes them: NAME.npy is what the program itself does on 1,000 observations.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lilliput.errors import LilliputError
from lilliput.policies import reference
from lilliput.policies.load import load_policy

FOLDER = Path(__file__).parents[2] / "fixtures" / "load" / "training"
OBSERVATIONS = (np.random.default_rng(0).normal(size=(1000, 5)) * 4).astype(np.float32)
READ = {
    "crossq.zip": "crossq",
    "d3rlpy_policy.pt": "d3rlpy",
    "d3rlpy_dqn_policy.pt": "d3rlpy_dqn",
    "d3rlpy_qrdqn_policy.pt": "d3rlpy_qrdqn",
    "d3rlpy_bc_policy.pt": "d3rlpy_bc",
    "torchrl.onnx": "torchrl",
    "rllib.onnx": "rllib",
    "sbx_sac.onnx": "sbx_sac",
}
"""Files, and whose actions theirs have to be."""
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "d3rlpy.d3": ({}, r"is a pickle, but not one of torch.save; .* agent.save_policy\('policy.pt'\)"),
    "d3rlpy.pt": ({}, r"is what d3rlpy's save_model\(\) writes, without its scalers; .* agent.save_policy"),
    "torchrl.pt": (
        {"activation": "tanh", "action": "continuous"},
        "may be the means and spreads of 2 .*export it as ONNX",
    ),
    "rllib.pkl": ({}, "is a pickle, but not one of torch.save; .* or the policy as ONNX"),
    "sbx_sac.zip": ({}, "is of sbx .JAX.: its networks stand in a cloudpickle with code, .* export that as ONNX"),
}


@pytest.mark.parametrize("name", READ)
def test_the_way_out_acts_as_its_program(name: str) -> None:
    wanted = np.load(FOLDER / f"{READ[name]}.npy")
    np.testing.assert_allclose(reference.act(load_policy(FOLDER / name), OBSERVATIONS), wanted, atol=1e-5)
    assert wanted.std() > 0.1
    if wanted.ndim == 1:  # choices
        return
    assert (wanted.min(axis=0) > -2.0001).all()
    assert (wanted.max(axis=0) < (3.0001, 2.0001)).all()


@pytest.mark.parametrize("name", REFUSED)
def test_its_own_file_is_refused_with_the_way_out(name: str) -> None:
    said, message = REFUSED[name]
    with pytest.raises(LilliputError, match=message):
        load_policy(FOLDER / name, **said)
