"""An artifact: a folder with manifest.json, the model or the C files, and golden examples that it has to reproduce."""

import dataclasses
import hashlib
import io
import json
import math
import re
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, Protocol, final, get_origin, get_type_hints, runtime_checkable

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import spaces
from lilliput.policies.fixed_point import FixedPoint, units_from_json

FORMAT = 4
"""Version of the artifact folder. 1: the first, all of whose C is named `policy`. 2: a name and a symbol of its own.
3: a state, and golden examples that are sequences. 4: observations and actions of integers. An artifact with neither is
still written as 2."""

MAX_STATE = 1 << 22
"""Numbers that an artifact may remember: a manifest that says more is damaged."""

MANIFEST = "manifest.json"
GOLDEN = "golden.npz"
DEFAULT_NAME = "policy"

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
_HEADERS = (
    " aio arduino arm_acle arm_neon assert complex cpio ctype dirent dlfcn errno fcntl fenv float fmtmsg fnmatch ftw "
    "glob grp iconv immintrin inttypes iso646 langinfo libgen limits locale malloc math memory monetary mqueue ndbm "
    "netdb nl_types poll pthread pwd regex sched search semaphore setjmp signal spawn stdalign stdarg stdatomic "
    "stdbool stddef stdint stdio stdlib stdnoreturn string strings stropts syslog tar termios tgmath threads time "
    "trace uchar ulimit unistd utime utmpx wchar wctype wordexp "
)
"""Headers of compilers, of C and of POSIX: one of ours by that name would be found in their place."""


@final
@dataclass(frozen=True, eq=False)
class Manifest:
    """What an artifact is, for whoever opens it without the policy that it was made from.

    Attributes:
        format: onnx or c.
        observation_space: of the raw observation; action_space: of the environment's action.
        input_dtype: what the model takes: float32 or uint8.
        guesses: what the source did not say and the loader assumed, a sentence each.
        contract: what the source says of the numbers around the network, by name, as texts.
        wrappers: what the environment side must do, from the closed list of `play`, in order.
        environment: the id that the policy was trained on, as its source spells it.
        policy_digest: of the exported policy; recipe: the text that made it; source, source_sha256: its checkpoint.
        n_parameters, n_nonzero_parameters, n_macs, model_bytes: counted on the policy.
        tolerance: how far a golden action may be off, in action units; 0 for choices.
        files: sha256 of every other file of the folder, by name.
        versions: of the programs that made it.
        name: what the names of C, and of its files, start with.
        symbol: the function of C that decides; empty where the format has none.
        state: what is remembered from step to step, by the name of its port (see `state.to_json`).
        fixed_point: how the numbers of an observation count where C takes integers (see `units_to_json`).
    """

    format: str
    observation_space: spaces.ObservationSpace
    action_space: spaces.ActionSpace
    input_dtype: str
    wrappers: tuple[str, ...]
    environment: str
    policy_digest: str
    recipe: str
    source: str
    source_sha256: str
    n_parameters: int
    n_nonzero_parameters: int
    n_macs: int
    model_bytes: int
    tolerance: float
    files: dict[str, str]
    versions: dict[str, str]
    guesses: tuple[str, ...] = ()
    contract: tuple[tuple[str, str], ...] = ()
    name: str = DEFAULT_NAME
    symbol: str = ""
    state: dict[str, dict[str, Any]] = field(default_factory=dict)
    fixed_point: dict[str, Any] = field(default_factory=dict)

    @property
    def units(self) -> FixedPoint | None:
        """How the numbers of an observation count; None: they are no integers."""
        return units_from_json(self.fixed_point)


@final
@dataclass(frozen=True, eq=False)
class Artifact:
    """A folder and what its manifest says."""

    folder: Path
    manifest: Manifest


def check_name(name: str) -> None:
    """Check that the name can be that of a C artifact.

    Raises:
        LilliputError: it is no name that C and its headers leave free.
    """
    if not _NAME.fullmatch(name):
        raise LilliputError(f"the name is {name!r}; it must be a C name of at most 40 letters, digits and underscores")
    if f" {name.lower()} " in _HEADERS:
        raise LilliputError(f"the name is {name!r}; a header of C or of a compiler is called {name}.h: choose another")


def name_for(folder: Path) -> str:
    """The name of an artifact that nobody gave one: its folder's, as C can spell it.

    >>> name_for(Path("out/balance-c/")), name_for(Path("01")), name_for(Path("math"))
    ('balance_c', 'policy_01', 'math_policy')
    """
    name = re.sub(r"[^A-Za-z0-9]+", "_", folder.resolve().name).strip("_") or DEFAULT_NAME
    name = (name if name[0].isalpha() else f"policy_{name}")[:40].rstrip("_")
    return f"{name}_policy" if f" {name.lower()} " in _HEADERS else name


@runtime_checkable
class Running(Protocol):
    """What runs an artifact."""

    @property
    def artifact(self) -> Artifact:
        """What is running."""
        ...


def write_manifest(folder: Path, manifest: Manifest) -> Artifact:
    """The artifact whose files stand in `folder`, complete once its manifest is written."""
    data = {f.name: getattr(manifest, f.name) for f in dataclasses.fields(manifest)}
    data["observation_space"] = spaces.to_json(manifest.observation_space)
    data["action_space"] = spaces.to_json(manifest.action_space)
    for name in ("state", "fixed_point"):
        if not data[name]:
            del data[name]
    version = 4 if manifest.fixed_point else 3 if manifest.state else 2
    (folder / MANIFEST).write_text(json.dumps({"artifact_format": version, **data}, indent=1) + "\n")
    return Artifact(folder, manifest)


def read_artifact(folder: str | Path) -> Artifact:
    """The artifact in a folder; its files are there and are the ones that the manifest names.

    Raises:
        LilliputError: no artifact, a damaged or changed one, or one that is newer than this program.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    if not path.is_file():
        raise LilliputError(f"{folder} is not an artifact: it has no {MANIFEST}; `lilliput export` writes one")
    try:
        data: dict[str, Any] = json.loads(path.read_text())
        if not isinstance(data, dict) or "artifact_format" not in data:
            raise ValueError("it names no artifact_format")
        version = data.pop("artifact_format")
        if version not in range(1, FORMAT + 1):
            raise LilliputError(
                f"{folder} is an artifact of format {version!r}; this version reads 1 to {FORMAT}: update lilliput"
            )
        data["fixed_point"] = data.get("fixed_point", {})
        data["state"] = _checked_state(data.get("state", {}), version)
        if version == 1:
            data |= {"name": DEFAULT_NAME, "symbol": f"{DEFAULT_NAME}_act" if data["format"] == "c" else ""}
        data["observation_space"] = spaces.from_json(data["observation_space"])
        data["action_space"] = spaces.from_json(data["action_space"])
        data["wrappers"] = tuple(map(str, data["wrappers"]))
        data["guesses"] = tuple(map(str, data.get("guesses", ())))
        data["contract"] = tuple((str(key), str(text)) for key, text in data.get("contract", ()))
        _check_types(data)
        data["tolerance"] = float(data["tolerance"])
        manifest = Manifest(**data)
        _check_units(manifest, version)
        named = [(str(name), str(digest)) for name, digest in manifest.files.items()]
        if not _NAME.fullmatch(manifest.name) or manifest.symbol not in ("", f"{manifest.name}_act"):
            raise ValueError(f"its name is {manifest.name!r} and its symbol {manifest.symbol!r}")
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise LilliputError(f"{path} is malformed ({_told(error)}); export again") from error
    for name, digest in named:
        if Path(name).name != name:
            raise LilliputError(f"{path} names the file {name!r} outside the artifact")
        if not (folder / name).is_file() or file_sha256(folder / name) != digest:
            raise LilliputError(f"{folder / name} is missing or was changed since the export; export again")
    return Artifact(folder, manifest)


def _told(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"it says nothing of {str(error)[:60]}"
    return " ".join(str(error).split())[:120]


def _checked_state(state: Any, version: int) -> dict[str, dict[str, Any]]:
    """The state that a manifest tells, or ValueError."""
    if bool(state) != (version == 3) or not isinstance(state, dict):
        raise ValueError(f"its format is {version} and its state {str(state)[:40]}")
    for name, port in state.items():
        shape, initial = port["shape"], port["initial"]
        sizes = [type(size) is int and 0 < size <= MAX_STATE for size in shape]
        numbers = [isinstance(one, int | float) and math.isfinite(one) for one in initial]
        if not (
            _NAME.fullmatch(name)
            and len(sizes) == 2
            and all(sizes)
            and all(numbers)
            and set(port) == {"shape", "initial"}
        ):
            raise ValueError(f"its state {name[:40]!r} is none")
        if math.prod(shape) > MAX_STATE or len(initial) not in (0, math.prod(shape)):
            raise ValueError(f"its state {name[:40]!r} of shape {shape} begins with {len(initial)} numbers")
    return state


def _check_units(manifest: Manifest, version: int) -> None:
    """Raises ValueError where the manifest tells of no units, or of others than its observation can have."""
    units = manifest.units
    n_numbers = math.prod(spaces.input_shape(manifest.observation_space))
    if (units is not None) != (version == 4) or (units is not None and len(units.fraction_bits) != n_numbers):
        raise ValueError(f"its format is {version} and its units are {str(manifest.fixed_point)[:40]}")


def _check_types(data: dict[str, Any]) -> None:
    for name, hint in get_type_hints(Manifest).items():
        kind = hint if isinstance(hint, UnionType) else get_origin(hint) or hint
        if isinstance(data[name], bool) or not isinstance(data[name], int | float if kind is float else kind):
            raise TypeError(f"{name} is {type(data[name]).__name__}")


def file_sha256(path: Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_golden(folder: Path, observations: np.ndarray, actions: np.ndarray) -> None:
    """Write the examples: flattened raw observations (n, *input shape) and the reference's actions.

    With a memory they are sequences: (n, steps, *input shape), each an episode from its start.
    """
    np.savez(folder / GOLDEN, observations=observations, actions=actions)


def golden_observations(artifact: Artifact) -> np.ndarray:
    """The golden observations as they are met one after another: (n, *input shape), of sequences one behind the other.

    Raises:
        LilliputError: they are damaged.
    """
    observations = read_golden(artifact)[0]
    return np.concatenate(observations) if artifact.manifest.state else observations


def read_golden(artifact: Artifact) -> tuple[np.ndarray, np.ndarray]:
    """The golden observations and actions.

    Raises:
        LilliputError: they are damaged.
    """
    try:
        with np.load(io.BytesIO((artifact.folder / GOLDEN).read_bytes()), allow_pickle=False) as data:
            return data["observations"], data["actions"]
    except (
        OSError, KeyError, ValueError, TypeError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error,
    ) as error:  # fmt: skip
        raise LilliputError(f"{artifact.folder / GOLDEN} is damaged: {' '.join(str(error).split())[:80]}") from error
