"""A .lilliput file: safetensors with a JSON header, there whole or not at all."""

import dataclasses
import json
from pathlib import Path

import numpy as np

from lilliput.errors import LilliputError
from lilliput.files import write_whole
from lilliput.policies import layers, spaces, storage
from lilliput.policies.learner import Checkpoint, Learner, checkpoint_of
from lilliput.policies.policy import Policy, Provenance, structure

FORMAT = 3
"""Version of the .lilliput file. 1: the first. 2: `plays` and `plays_kwargs`. 3: layers with a memory; a policy without
one is still written as 2. All are read."""

SUFFIX = ".lilliput"
MAX_FILE_BYTES = 1 << 30

_MEMBERS = {"format", "observation_space", "action_space", "layers", "provenance", "critic"}
_SPREAD = "action_std"
"""Of the learner; files have it beside where the policy came from."""


def check_name(path: Path) -> None:
    """Check that the name ends in .lilliput.

    Raises:
        LilliputError: it does not.
    """
    if path.suffix != SUFFIX:
        raise LilliputError(f"{path.name!r}: a policy's file ends in {SUFFIX}")


def write(subject: Policy | Checkpoint, path: str | Path, *, force: bool = False) -> None:
    """Write the policy as safetensors with a JSON header, and what is known of its learner: all of it, or nothing.

    Args:
        subject: what to write.
        path: where.
        force: take the place of a file that exists.

    Raises:
        LilliputError: the file exists, it cannot be written, or the name does not end in .lilliput.
    """
    from safetensors.numpy import save

    path = Path(path)
    check_name(path)
    if path.exists() and not force:
        raise LilliputError(f"{path} exists; choose another name or remove it")
    checkpoint = checkpoint_of(subject)
    policy, learner = checkpoint.policy, checkpoint.learner
    described, arrays = structure(policy)
    header = {
        "format": FORMAT if policy.has_memory else FORMAT - 1,
        **described,
        "provenance": {**dataclasses.asdict(policy.provenance), _SPREAD: learner.action_std},
    }
    if learner.critic:
        header["critic"] = storage.encode_layers(learner.critic, "critic.", arrays)
    header["sha256"] = storage.sha256(header, arrays)
    # safetensors needs at least one array and refuses shared memory; copies are cheap here.
    data = save({name: np.array(array) for name, array in arrays.items()}, {"lilliput": json.dumps(header)})
    write_whole(path, data)


def read(path: str | Path) -> Policy:
    """The policy in a file that `write` wrote; see `read_checkpoint`."""
    return read_checkpoint(path).policy


def read_checkpoint(path: str | Path) -> Checkpoint:
    """The policy in a file that `write` wrote, and what the file has of its learner.

    Raises:
        LilliputError: the file is something else, damaged or newer than this program.
    """
    path = Path(path)
    if not path.is_file():
        raise LilliputError(f"there is no file {str(path)!r}")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise LilliputError(f"{path.name!r} has {path.stat().st_size} bytes; at most {MAX_FILE_BYTES} are read")
    return from_bytes(path.read_bytes(), repr(path.name))


def from_bytes(data: bytes, name: str) -> Checkpoint:
    """What is in the bytes of a .lilliput file; `name` is used in errors."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        size = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + size]).get("__metadata__", {})
        if "lilliput" not in metadata:
            raise LilliputError(
                f"{name} is a safetensors file that lilliput did not write; if it is a state dict, give it as a torch "
                "file: torch.save(safetensors.torch.load_file(path), 'policy.pt')"
            )
        arrays = load(data)
        header = json.loads(metadata["lilliput"])
        version = header["format"]
        if version not in range(1, FORMAT + 1):
            raise LilliputError(f"{name} is of format {version!r}; this version reads 1 to {FORMAT}: update lilliput")
        written = header.pop("sha256", None)
        if written is not None and written != storage.sha256(header, arrays):
            raise LilliputError(f"{name} is damaged: it is not what was written; copy or make it again")
        if others := header.keys() - _MEMBERS:
            raise LilliputError(f"{name} holds {min(others)[:40]!r}, which no policy's file has: it would be lost")
        observation_space = spaces.from_json(header["observation_space"])
        action_space = spaces.from_json(header["action_space"])
        decoded = tuple(storage.decode(layer, arrays) for layer in header["layers"])
        critic = tuple(storage.decode(layer, arrays) for layer in header.get("critic", ()))
        told = dict(header["provenance"])
        spread = {_SPREAD: told.pop(_SPREAD, [])}
        provenance = storage.decode({**told, "kind": "Provenance"}, arrays, {"Provenance": Provenance})
        learner = storage.decode({**spread, "kind": "Learner"}, arrays, {"Learner": Learner})
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, RecursionError, OverflowError) as error:
        raise LilliputError(
            f"{name} is not a lilliput policy, or damaged: {' '.join(str(error).split())[:120]}"
        ) from error
    if not isinstance(observation_space, spaces.Box | spaces.Dict) or isinstance(action_space, spaces.Dict):
        raise LilliputError(f"{name}: spaces of a kind that a policy cannot have")
    if not all(isinstance(layer, layers.Layer) for layer in (*decoded, *critic)):
        raise LilliputError(f"{name}: a layer of an unknown kind")
    policy = Policy(observation_space, action_space, decoded, provenance)
    return Checkpoint(policy, dataclasses.replace(learner, critic=critic))
