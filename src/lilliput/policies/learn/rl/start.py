"""A trained policy that goes on learning: its weights by our own reader, everything else fresh, and said."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from lilliput.errors import LilliputError
from lilliput.policies.learn.rl.hyperparameters import ACTIVATIONS
from lilliput.policies.load import network, sb3_data
from lilliput.policies.load.archive import Archive, read_archive
from lilliput.policies.load.sb3_algorithm import algorithm_of
from lilliput.policies.load.torch_file import read_torch
from lilliput.policies.load.vecnormalize import RunningStatistics, read_normalizer


def networks_of(source: str | Path, algorithm: str) -> dict[str, Any]:
    """What the zip says of its networks: `net_arch` and `activation`, each where it is not the framework's default.

    Raises:
        LilliputError: no such zip, of another algorithm, or networks of a kind that is not trained here.
    """
    path, archive = _opened(source)
    data = sb3_data.parse_data(archive.read("data", sb3_data.MAX_DATA_BYTES), path.name)
    trained_by = algorithm_of(data, _state(path, archive), path.name)
    # A2C, PPO and TRPO have the same networks, and a zip may leave it open which of them it was.
    if algorithm not in trained_by.lower().replace("-", "").replace(",", "").split():
        raise LilliputError(
            f"{path.name!r} was trained by {trained_by}, and --algo is {algorithm}: a policy goes on learning by what "
            "trained it"
        )
    kwargs = sb3_data.policy_kwargs(data)
    found: dict[str, Any] = {}
    architecture = kwargs.get("net_arch")
    if isinstance(architecture, list) and len(architecture) == 1 and isinstance(architecture[0], dict):
        architecture = architecture[0]  # as Stable-Baselines3 wrote it before 1.8
    if isinstance(architecture, list | dict):
        found["net_arch"] = architecture
    if (activation := kwargs.get("activation_fn")) is not None:
        kind = sb3_data.class_of(activation).rpartition(".")[2]
        known = {name: ours for ours, name in ACTIVATIONS.items()}
        if kind not in known:
            raise LilliputError(f"{path.name!r} has the activation {kind[:40]!r}; trained here: {', '.join(known)}")
        found["activation"] = known[kind]
    return found


def _opened(source: str | Path) -> tuple[Path, Archive]:
    path = Path(source)
    if not path.is_file():
        raise LilliputError(f"there is no file {str(path)!r}")
    archive = read_archive(path.read_bytes(), repr(path.name))
    if "policy.pth" not in archive or "data" not in archive:
        raise LilliputError(f"{path.name!r} is no Stable-Baselines3 zip: it has no policy.pth")
    return path, archive


def _state(path: Path, archive: Archive) -> dict[str, np.ndarray]:
    return network.state_dict(read_torch(archive.read("policy.pth"), f"{path.name}: policy.pth"), path.name)


def begin_from(model: Any, source: str | Path) -> tuple[str, ...]:
    """What starts fresh, in words; the model's networks have the weights of the zip now.

    Raises:
        LilliputError: no such zip, or one whose networks are not the model's.
    """
    path, archive = _opened(source)
    found = _state(path, archive)
    own = model.policy.state_dict()
    differing = [key for key in sorted(set(own) | set(found)) if key not in own or key not in found]
    if not differing:
        differing = [key for key in own if tuple(own[key].shape) != tuple(found[key].shape)]
    if differing:
        raise LilliputError(
            f"{path.name!r} has other networks than this training: {', '.join(differing[:4])} differ; say the same "
            "--hidden, --activation and algorithm"
        )
    model.policy.load_state_dict({key: torch.from_numpy(value.copy()) for key, value in found.items()})
    fresh = ["optimizers"] + ([] if getattr(model, "replay_buffer", None) is None else ["replay buffer"])
    if hasattr(model, "log_ent_coef"):
        fresh.append("entropy coefficient")
    normalize = model.get_vec_normalize_env()
    if normalize is not None:
        beside = path.with_name("vecnormalize.pkl")
        if not beside.exists():
            raise LilliputError(
                f"this training normalizes observations and {path.name!r} has no vecnormalize.pkl beside it; "
                "say --no-normalize, or put the statistics there"
            )
        read = read_normalizer(beside.read_bytes(), beside.name)
        known, known_count = read.statistics, read.n_observations
        if not isinstance(known, RunningStatistics):
            raise LilliputError(f"{beside.name!r} holds no statistics of one array of observations")
        normalize.obs_rms.mean, normalize.obs_rms.var = known.mean.copy(), known.var.copy()
        normalize.obs_rms.count = float(known_count or 1)
        fresh.append("statistics of rewards")
    return (f"goes on from {path.name}; fresh: {', '.join(fresh)}",)
