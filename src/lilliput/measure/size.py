"""What an artifact takes and does, by counting."""

import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

from lilliput.measure.conditions import conditions
from lilliput.measure.meter import Measured, Meter, Room
from lilliput.measurement import Absent, Measurement
from lilliput.policies.artifact import Artifact, read_artifact

_FLAGS = ("-std=c99", "-O2", "-ffp-contract=off")
"""The exported Makefile's."""


def size(artifact: Artifact) -> tuple[Measurement | Absent, ...]:
    """model_bytes, file_bytes, n_parameters, n_nonzero_parameters and n_macs: one value each."""
    here = conditions()
    manifest = artifact.manifest
    counted = {
        "model_bytes": manifest.model_bytes,
        "n_parameters": manifest.n_parameters,
        "n_nonzero_parameters": manifest.n_nonzero_parameters,
        "n_macs": manifest.n_macs,
    }
    found: list[Measurement | Absent] = [
        Measurement(name, (float(n),), "counted: on the exported policy", here) for name, n in counted.items()
    ]
    return (*found, _file_bytes(artifact))


def _file_bytes(artifact: Artifact) -> Measurement | Absent:
    models = [name for name in artifact.manifest.files if name.endswith(".onnx")]
    if models:
        n_bytes = sum((artifact.folder / name).stat().st_size for name in models)
        return Measurement("file_bytes", (float(n_bytes),), f"counted: {', '.join(models)}", conditions())
    return _object_bytes(artifact.folder / f"{artifact.manifest.name}.c")


def _object_bytes(source: Path) -> Measurement | Absent:
    compiler = os.environ.get("CC", "cc")
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch, source.with_suffix(".o").name)
        command = [*shlex.split(compiler), *_FLAGS, "-c", str(source), "-o", str(target)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            return Absent("file_bytes", f"{compiler} cannot be run ({error.strerror}); install a C compiler or set CC")
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
            return Absent("file_bytes", f"{compiler} cannot compile {source.name}: {lines[0][:200]}")
        n_bytes = target.stat().st_size
    method = f"counted: the object file, by {compiler} {' '.join(_FLAGS)}"
    return Measurement("file_bytes", (float(n_bytes),), method, conditions())


@final
@dataclass(frozen=True)
class Size(Meter):
    """What is counted on the files."""

    NAME: ClassVar[str] = "size"
    QUANTITIES: ClassVar[tuple[str, ...]] = (
        "model_bytes", "file_bytes", "n_parameters", "n_nonzero_parameters", "n_macs",
    )  # fmt: skip

    def measure(self, room: Room) -> Sequence[Measured]:
        """One value each."""
        return [size(read_artifact(bench.folder)) for bench in room.benches]
