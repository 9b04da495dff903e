"""The formats of checkpoint files: how each is recognised by its content, and its reader."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

from lilliput.errors import LilliputError
from lilliput.policies.learner import Checkpoint, checkpoint_of
from lilliput.policies.load.archive import read_archive
from lilliput.policies.load.brax import is_brax, read_brax
from lilliput.policies.load.keras import is_keras, is_keras_h5, read_keras, read_keras_h5
from lilliput.policies.load.lilliput import read_lilliput
from lilliput.policies.load.onnx import read_onnx
from lilliput.policies.load.rl_tools import is_hdf5, read_rl_tools
from lilliput.policies.load.source import Source
from lilliput.policies.load.stable_baselines3 import is_stable_baselines3, read_stable_baselines3
from lilliput.policies.load.state_dict import read_state_dict
from lilliput.policies.load.torch_file import is_torch_zip
from lilliput.policies.load.torchscript import is_torchscript, read_torchscript
from lilliput.policies.load.vecnormalize import is_normalizer
from lilliput.policies.policy import Policy

_TORCH: Final = b"\x8a\x0al\xfc\x9cF\xf9 j"
"""What a file of torch.save before 1.6 begins with, behind the pickle's protocol."""


def is_zip(data: bytes) -> bool:
    """Whether it begins as a zip file does."""
    return data.startswith(b"PK\x03\x04")


def is_lilliput(data: bytes) -> bool:
    """Whether it begins as safetensors do: the length of a JSON header, then the header."""
    return len(data) > 9 and data[8:9] == b"{" and int.from_bytes(data[:8], "little") < len(data)


def _read_zip(source: Source) -> Policy | Checkpoint:
    archive = read_archive(source.data, source.name)
    if is_stable_baselines3(archive):
        return read_stable_baselines3(archive, source.options)
    if is_torchscript(archive):
        return read_torchscript(source, archive)
    if is_torch_zip(archive):
        return read_state_dict(source)
    if is_keras(archive):
        return read_keras(source, archive)
    if archive.sizes and all(entry.endswith(".npy") for entry in archive.sizes):
        raise LilliputError(
            f"{source.name} holds arrays alone (.npz), and not which layers they are of; export the policy as ONNX, or "
            "save a torch module with these weights, torch.save(module.state_dict(), 'policy.pt'); a robot's log is "
            "given with --observations, statistics with --normalizer"
        )
    entries = ", ".join(entry[:40] for entry in list(archive.sizes)[:4]) or "nothing"
    raise LilliputError(f"{source.name} is a zip file with {entries}; supported: {_SUPPORTED}")


def _is_flax(data: bytes) -> bool:
    """Whether it is flax's msgpack (CleanRL's JAX scripts), or a pickle of that or of JAX's arrays (skrl's agents)."""
    starts = 0x81 <= (data[:1] or b"\0")[0] <= 0x8F or (data[:1] == b"\x80" and data[2:11] != _TORCH)
    return starts and b"params" in data and b"kernel" in data and not is_brax(data)


@final
@dataclass(frozen=True)
class CheckpointFormat:
    """A kind of checkpoint file: how it is recognised by its content, and its reader.

    A reader of files that tell nothing of a learner gives the policy alone.
    """

    what: str
    recognise: Callable[[bytes], bool]
    read: Callable[[Source], Policy | Checkpoint]


FORMATS: Final = (
    CheckpointFormat(
        "Stable-Baselines3 zips, torch files of CleanRL, rsl_rl and others (docs/formats.md), TorchScript",
        is_zip,
        _read_zip,
    ),
    CheckpointFormat("Lilliput's own .lilliput", is_lilliput, read_lilliput),
    CheckpointFormat("brax's parameters", is_brax, read_brax),
    CheckpointFormat("Keras' model.save (.keras, .h5)", is_keras_h5, read_keras_h5),
    CheckpointFormat("rl_tools' checkpoint.h5", is_hdf5, read_rl_tools),
    CheckpointFormat("state dicts of torch before 1.6", lambda data: data.startswith(b"\x80"), read_state_dict),
    CheckpointFormat("ONNX", lambda data: data.startswith(b"\x08"), read_onnx),
)
"""The formats, in the order in which they are tried: .lilliput begins with a length, which may look like others."""

_STATISTICS: Final = (
    "holds the statistics that observations are normalized with, and no policy; give the policy's file, and this one "
    "with --normalizer"
)

_FLAX: Final = (
    "holds parameters of flax (JAX), which are not read; put them into a torch module, each kernel transposed into a "
    "Linear, with all that the program does around them, and export that as ONNX (docs/formats.md)"
)

_TFLITE: Final = b"TFL3"
_INSTEAD: Final = {
    b"version https://git-lfs": "a pointer of Git LFS and not the file itself; fetch that with git lfs pull",
    b"<!doctype html": "a web page and not the file itself; download that",
    b"<html": "a web page and not the file itself; download that",
    b"\x1f\x8b": "packed with gzip; unpack it first",
    b"#include": "C or C++ source and no checkpoint; of rl_tools give the checkpoint.h5 beside it",
}
"""What people have in place of a checkpoint, by how it begins."""

_SUPPORTED = "; ".join(kind.what for kind in FORMATS)


def read(source: Source) -> Checkpoint:
    """What the file holds, by the first of the formats that recognises it.

    Raises:
        LilliputError: none does, or its reader refuses the file.
    """
    data, name = source.data, source.name
    if _is_flax(data):
        raise LilliputError(f"{name} {_FLAX}")
    for kind in FORMATS:
        if kind.recognise(data):
            try:
                return checkpoint_of(kind.read(source))
            except LilliputError as error:
                if is_normalizer(data, name):
                    raise LilliputError(f"{name} {_STATISTICS}") from None
                # What the nouns refuse does not name the file; what a file says may hold terminal codes.
                message = printable(str(error))
                raise LilliputError(message if name in message else f"{name}: {message}") from error
    if is_normalizer(data, name):
        raise LilliputError(f"{name} {_STATISTICS}")
    for start, what in _INSTEAD.items():
        if data[:64].lstrip().lower().startswith(start):
            raise LilliputError(f"{name} is {what}")
    if data[4:8] == _TFLITE:
        raise LilliputError(f"{name} is a model of TensorFlow Lite; give the Keras model that it was made of, or ONNX")
    raise LilliputError(f"{name} is {'empty' if not data else 'of no known format'}; supported: {_SUPPORTED}")


def printable(text: str) -> str:
    """The text as one line, its control characters replaced."""
    return "".join(character if character.isprintable() else "?" for character in text)
