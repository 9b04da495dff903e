"""The committed checkpoints, each with observations and its framework's own actions for them."""

from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parents[2] / "fixtures" / "load"

FILES = {
    "ppo": "ppo.zip",
    "a2c_multi_discrete": "a2c_multi_discrete.zip",
    "ppo_dict": "ppo_dict.zip",
    "sac_gsde": "sac_gsde.zip",
    "td3": "td3.zip",
    "qrdqn": "qrdqn.zip",
    "ars_linear": "ars_linear.zip",
    "cleanrl_ppo": "cleanrl_ppo.cleanrl_model",
    "cleanrl_td3": "cleanrl_td3.pt",
    "mlp": "mlp.onnx",
}


def source(name: str) -> Path:
    """The checkpoint of that name, alone: what stands beside it in the repository does not count."""
    return FOLDER / FILES[name]


def copied(name: str, folder: Path) -> Path:
    """A copy of the checkpoint in a folder of its own."""
    target = folder / FILES[name]
    target.write_bytes(source(name).read_bytes())
    return target


def expected(name: str) -> tuple[Any, np.ndarray]:
    """Observations, and the framework's own actions for them."""
    with np.load(FOLDER / f"{name}.npz") as arrays:
        keyed = {key.removeprefix("observation."): arrays[key] for key in arrays if key.startswith("observation.")}
        return keyed or arrays["observation"], arrays["action"]
