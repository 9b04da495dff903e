"""Models to artifacts that others run: one module a format (`transformers_folder`, ...), rows in `table`.

An artifact is a folder: what its runtime reads, a manifest, and golden answers that it has to give again anywhere.
"""

import dataclasses
import io
import shutil
import uuid
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, final

from lilliput.errors import LilliputError, closest
from lilliput.files import Format
from lilliput.models.export.exporter import Exporter
from lilliput.models.export.golden import GOLDEN, golden_feeds, largest_difference, read_golden, write_golden
from lilliput.models.export.table import EXPORTERS
from lilliput.models.images import Picture, picture_from
from lilliput.models.linear import groups_of_four, still_zero
from lilliput.models.model import Family, Model, Port, Provenance
from lilliput.models.session import Session, open_session

__all__ = ["EXPORTERS", "MANIFEST", "Artifact", "check", "export", "open_artifact", "read_artifact"]

MANIFEST = "lilliput.json"
FORMAT = Format("model_artifact", 1)

TOLERANCE = 1e-3
"""Of an answer, as a part of the largest golden answer: the runtimes add in other orders."""


@final
@dataclass(frozen=True)
class Artifact:
    """What a manifest says.

    Attributes:
        folder: where the artifact stands.
        format: which exporter wrote it.
        family: what it answers to; inputs, outputs: its ports.
        digest: of the model that it was made of.
        model_bytes, n_parameters, n_nonzero_parameters: as counted on that model.
        provenance: where that came from; its recipe.
        notes: what the exporter said of it.
        picture: how a model of pictures sees them.
        decoder: of a detector, what its outputs mean, where that is known.
        zeros: weights that were pruned, and those of them that are zero; None: none was, or one is not found again.
        fours: groups of four neighbouring inputs in layers that were pruned, and those with two zeros.
    """

    folder: Path
    format: str
    family: Family
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    digest: str
    model_bytes: int
    n_parameters: int
    n_nonzero_parameters: int
    provenance: Provenance
    notes: tuple[str, ...] = ()
    picture: Picture | None = None
    decoder: str = ""
    zeros: tuple[int, int] | None = None
    fours: tuple[int, int] | None = None

    @property
    def file_bytes(self) -> int:
        """Bytes of everything that its runtime reads."""
        own = {MANIFEST, GOLDEN}
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file() and path.name not in own)

    @property
    def zipped_bytes(self) -> int:
        """Bytes of a zip archive of the same files."""
        return _zipped_bytes(self.folder, (self.folder / MANIFEST).stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _zipped_bytes(folder: Path, changed: int) -> int:
    """Bytes of a zip archive of the folder, which is packed once for all tasks that an artifact is asked."""
    del changed
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.name not in {MANIFEST, GOLDEN}:
                archive.write(path, str(path.relative_to(folder)))
    return len(stream.getvalue())


def export(model: Model, format: str, folder: str | Path) -> Artifact:
    """The artifact, written whole or not at all, opened again and found to give its golden answers.

    Raises:
        LilliputError: the folder exists, there is no such format, it cannot hold the model, or it answers otherwise.
    """
    folder = Path(folder)
    exporter = exporter_of(format)
    if folder.exists():
        raise LilliputError(f"{folder} exists; choose another name or remove it")
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:12]}")
    try:
        part.mkdir(parents=True)
        notes = exporter.write(model, part)
        feeds = golden_feeds(model)
        answers = open_session(model).answer(feeds)
        write_golden(part, feeds, answers)
        artifact = Artifact(
            part, format, model.family, model.inputs, model.outputs, model.digest, model.model_bytes,
            model.n_parameters, model.n_nonzero_parameters, model.provenance, notes, model.picture, model.decoder,
            still_zero(model) if model.pruned else None, groups_of_four(model) if model.pruned else None,
        )  # fmt: skip
        data = dataclasses.asdict(artifact)
        del data["folder"]
        FORMAT.write(part / MANIFEST, data)
        missed = largest_difference(answers, exporter.open(part).answer(feeds))
        if not missed <= TOLERANCE:
            raise LilliputError(
                f"the {format} artifact answers otherwise than the model: by {missed:.2g} of its largest answer; "
                f"{TOLERANCE:g} is allowed"
            )
        part.rename(folder)
    except OSError as error:
        raise LilliputError(f"{folder} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return dataclasses.replace(artifact, folder=folder)


def exporter_of(format: str) -> Exporter:
    """The exporter of that name.

    Raises:
        LilliputError: there is none.
    """
    if format not in EXPORTERS:
        raise LilliputError(f"{closest(format, EXPORTERS)}formats of models: {', '.join(EXPORTERS)}")
    return EXPORTERS[format]


def read_artifact(folder: str | Path) -> Artifact:
    """What the manifest in the folder says.

    Raises:
        LilliputError: there is none, or it is damaged.
    """
    folder = Path(folder)
    data = FORMAT.read(folder / MANIFEST)
    try:
        ports: dict[str, Any] = {
            name: tuple(Port(one["name"], one["dtype"], tuple(one["axes"])) for one in data.pop(name))
            for name in ("inputs", "outputs")
        }
        provenance = {**data.pop("provenance")}
        provenance["guesses"], provenance["said"] = tuple(provenance["guesses"]), tuple(provenance.get("said", ()))
        notes = tuple(data.pop("notes"))
        seen = picture_from(data.pop("picture", None))
        pairs: dict[str, Any] = {
            name: None if (pair := data.pop(name, None)) is None else tuple(pair) for name in ("zeros", "fours")
        }
        whole = {**ports, **pairs, **data}
        return Artifact(folder, provenance=Provenance(**provenance), notes=notes, picture=seen, **whole)
    except (KeyError, TypeError, AttributeError) as error:
        raise LilliputError(f"{folder / MANIFEST} is malformed: {str(error)[:80]}") from error


def open_artifact(folder: str | Path) -> Session:
    """The artifact, answering as it does for those who get it."""
    artifact = read_artifact(folder)
    return exporter_of(artifact.format).open(artifact.folder)


def check(folder: str | Path, session: Session | None = None) -> float:
    """How far the artifact's golden answers are from those in the folder, as a part of the largest of them.

    Args:
        folder: the artifact.
        session: it, where it is open already.

    Raises:
        LilliputError: it cannot be opened, or that is more than is allowed.
    """
    feeds, answers = read_golden(Path(folder))
    missed = largest_difference(answers, (session or open_artifact(folder)).answer(feeds))
    if not missed <= TOLERANCE:
        raise LilliputError(f"{folder} answers otherwise than it did: by {missed:.2g} of its largest golden answer")
    return missed
