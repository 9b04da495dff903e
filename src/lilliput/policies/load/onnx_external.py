"""The weights that an ONNX file keeps in another file beside it: read, never followed out of the folder."""

import math
from pathlib import Path
from typing import Any

from lilliput.errors import LilliputError

MAX_BYTES = 512 << 20


def read(tensor: Any, folder: Path, where: str) -> bytes:
    """The bytes of a tensor whose data lie in a file in `folder`.

    Raises:
        LilliputError: no such file, one outside of the folder, or fewer bytes than the tensor takes.
    """
    from onnx import helper

    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    if not isinstance(location, str) or not location or not location.isprintable():
        raise LilliputError(f"{where} is in another file that has no name; export the model as one file")
    shown = repr(location[:80])
    path = folder / location
    if Path(location).is_absolute() or "\\" in location or ".." in Path(location).parts:
        raise LilliputError(f"{where} is in {shown}, outside of the model's folder; only files beside it are read")
    try:
        if not path.resolve().is_relative_to(folder.resolve()):
            raise LilliputError(f"{where} is in {shown}, a link out of the model's folder; only files in it are read")
        if not path.is_file():
            raise LilliputError(
                f"{where} is in {shown}, which is not beside the model; put both files into one folder, or export the "
                "model as one file"
            )
        size = path.stat().st_size
        offset, length = (_number(entries.get(key, "0"), where) for key in ("offset", "length"))
        count = math.prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        if "length" in entries and length != count:
            raise LilliputError(f"{where} takes {count} bytes; {length} are announced in {shown}: export it again")
        if offset + count > size or size > MAX_BYTES:
            raise LilliputError(
                f"{where} takes {count} bytes from byte {offset} on; {shown} has {size} (at most {MAX_BYTES} are read)"
            )
        with path.open("rb") as stream:
            stream.seek(offset)
            return stream.read(count)
    except (OSError, ValueError, KeyError) as error:
        raise LilliputError(f"{where} is in {shown}, which cannot be read: {str(error)[:80]}") from error


def _number(text: Any, where: str) -> int:
    if not isinstance(text, str) or not text.isascii() or not text.isdigit() or len(text) > 12:
        raise LilliputError(f"{where} has a place in another file that is no number; export the model again")
    return int(text)
