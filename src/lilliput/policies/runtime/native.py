"""A C artifact running here: compiled once, then called at the price of a C function."""

import ctypes
import importlib.machinery
import importlib.util
import sys
import sysconfig
import warnings
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn, final

import numpy as np

from lilliput.compiler import FOR_THIS_PROCESSOR, shared_object
from lilliput.errors import LilliputError
from lilliput.policies import spaces
from lilliput.policies.artifact import Artifact
from lilliput.policies.fixed_point import ACTION_BITS
from lilliput.policies.runtime import Actor
from lilliput.policies.runtime.memory import first_state, refuse_without_beginning

FLAGS = ("-std=c99", *FOR_THIS_PROCESSOR, "-ffp-contract=off")

_EXTENSION = Path(__file__).parent / "extension" / "native.c"


def open_native(artifact: Artifact) -> Actor:
    """The artifact, compiled for this processor and running; threads may share it.

    Raises:
        MissingDependency: there is no C compiler.
        LilliputError: the artifact's C files are missing, changed or refused by the compiler.
    """
    library = _loadable(_files(artifact), artifact.manifest.symbol)
    extension = _extension()
    if isinstance(extension, str):
        warnings.warn(f"{extension}; policies are called through ctypes, 0.5 us slower", RuntimeWarning, stacklevel=2)
    if artifact.manifest.state:
        return NativeEpisodes(artifact, library, extension)
    return _opened(artifact, library, extension)


def open_with_integers(artifact: Artifact) -> Actor:
    """The artifact of integers, compiled for this processor: it takes and gives real numbers as any other does.

    Raises:
        MissingDependency: there is no C compiler.
        LilliputError: the artifact's C files are missing, changed or refused by the compiler.
    """
    return IntegerActor(artifact, _loadable(_files(artifact), artifact.manifest.symbol))


def _files(artifact: Artifact) -> list[Path]:
    """What is compiled.

    Raises:
        LilliputError: a file is missing.
    """
    files = [artifact.folder / f"{artifact.manifest.name}{end}" for end in (".c", ".h", "_kernels.h")]
    missing = next((file for file in files if not file.is_file()), None)
    if missing:
        raise LilliputError(f"{missing} is missing; export again")
    return files


def _opened(artifact: Artifact, library: Path, extension: ModuleType | str) -> Actor:
    """What calls the compiled policy; with a memory, for one episode."""
    symbol, space = artifact.manifest.symbol, artifact.manifest.observation_space
    if isinstance(extension, str):
        return CtypesActor(artifact, library, symbol)
    return extension.NativeActor(
        library=library,
        symbol=symbol,
        observation_shape=spaces.input_shape(space),
        action_shape=spaces.action_shape(artifact.manifest.action_space),
        takes_bytes=spaces.input_dtype(space) == "uint8",
        gives_choices=not isinstance(artifact.manifest.action_space, spaces.Box),
        state_size=_state_size(artifact),
        reset=f"{artifact.manifest.name}_reset",
        artifact=artifact,
        convert=partial(spaces.one_input, space),
        convert_all=partial(spaces.artifact_input, space),
        error=LilliputError,
    )


def _state_size(artifact: Artifact) -> int:
    """How many floats the state has."""
    return sum(one.size for one in first_state(artifact.manifest).values())


@final
class NativeEpisodes:
    """A running C artifact with a memory: it acts in episodes that begin."""

    def __init__(self, artifact: Artifact, library: Path, extension: ModuleType | str) -> None:
        self.artifact, self._library, self._extension = artifact, library, extension

    def begin(self, seed: int = 0) -> Callable[[Any], Any]:
        """The act of an episode of its own; not for several threads at once."""
        return _opened(self.artifact, self._library, self._extension)

    def __call__(self, observation: Any) -> NoReturn:
        """Refuses: an action follows from the episode."""
        refuse_without_beginning(self.artifact)

    def batch(self, observations: Any) -> NoReturn:
        """Refuses: an action follows from the episode."""
        refuse_without_beginning(self.artifact)


@final
class CtypesActor:
    """A running C artifact, or one episode of it, where the extension cannot be built; threads may share the first."""

    def __init__(self, artifact: Artifact, library: Path, symbol: str) -> None:
        self.artifact = artifact
        self._space = artifact.manifest.observation_space
        action_space = artifact.manifest.action_space
        self._shape = spaces.action_shape(action_space)
        self._is_choice = isinstance(action_space, spaces.Discrete)
        self._dtype = np.dtype(np.float32 if isinstance(action_space, spaces.Box) else np.int32)
        opened = ctypes.CDLL(str(library))
        decide = getattr(opened, symbol)
        self._state = (ctypes.c_float * _state_size(artifact))()
        state = [self._state] if artifact.manifest.state else []
        decide.argtypes, decide.restype = (ctypes.c_void_p,) * (2 + len(state)), None
        if state:
            getattr(opened, f"{artifact.manifest.name}_reset")(self._state)
        self._decide = partial(decide, *state)

    def __call__(self, observation: Any) -> Any:
        """The environment's action for one raw observation."""
        action = self.batch(spaces.one_input(self._space, observation))[0]
        return int(action) if self._is_choice else action

    def batch(self, observations: Any) -> np.ndarray:
        """The actions for a batch of raw observations, batch first; with a memory, for one episode's in their order."""
        x = spaces.artifact_input(self._space, observations)
        actions = np.empty((len(x), *self._shape), self._dtype)
        for i in range(len(x)):
            self._decide(x[i].ctypes.data, actions[i : i + 1].ctypes.data)
        return actions if self._dtype == np.float32 else actions.astype(np.int64)

    def begin(self, seed: int = 0) -> "CtypesActor":
        """Itself, where there is nothing to remember."""
        if self.artifact.manifest.state:
            refuse_without_beginning(self.artifact)
        return self

    def into(self, observation: Any, out: np.ndarray) -> None:
        """Write the action into `out`, an array of the action's shape."""
        out[...] = self(observation)


@final
class IntegerActor:
    """A running C artifact of integers; threads may share it.

    Real observations become the nearest integers in the artifact's units, saturated. Where a number is not finite the
    action is NaN, and every choice 0, as the reference has it: C is not asked.
    """

    def __init__(self, artifact: Artifact, library: Path) -> None:
        self.artifact = artifact
        units = artifact.manifest.units
        if units is None:
            raise LilliputError(f"{artifact.folder} takes no integers")
        self._units, self._space = units, artifact.manifest.observation_space
        self._shape = spaces.action_shape(artifact.manifest.action_space)
        self._is_box = isinstance(artifact.manifest.action_space, spaces.Box)
        self._is_choice = isinstance(artifact.manifest.action_space, spaces.Discrete)
        self._decide = getattr(ctypes.CDLL(str(library)), artifact.manifest.symbol)
        self._decide.argtypes, self._decide.restype = (ctypes.c_void_p, ctypes.c_void_p), None

    def __call__(self, observation: Any) -> Any:
        """The environment's action for one raw observation."""
        action = self.batch(spaces.one_input(self._space, observation))[0]
        return int(action) if self._is_choice else action

    def batch(self, observations: Any) -> np.ndarray:
        """The actions for a batch of raw observations, batch first."""
        x = spaces.artifact_input(self._space, observations)
        is_finite = np.isfinite(x).all(axis=tuple(range(1, x.ndim)))
        integers = self._units.integers(np.nan_to_num(x))
        actions = np.zeros((len(x), *self._shape), np.int32)
        for i in np.flatnonzero(is_finite):
            self._decide(integers[i].ctypes.data, actions[i : i + 1].ctypes.data)
        if not self._is_box:
            return actions.astype(np.int64)
        found = (actions * 2.0**-ACTION_BITS).astype(np.float32)
        found[~is_finite] = np.nan
        return found

    def begin(self, seed: int = 0) -> "IntegerActor":
        """Itself: there is nothing to remember."""
        return self

    def into(self, observation: Any, out: np.ndarray) -> None:
        """Write the action into `out`, an array of the action's shape."""
        out[...] = self(observation)


def _loadable(files: list[Path], symbol: str) -> Path:
    library = shared_object(files, FLAGS, ("-lm",))
    try:
        getattr(ctypes.CDLL(str(library)), symbol)
    except AttributeError:
        raise LilliputError(f"{files[0]} has no function {symbol}; export again") from None
    except OSError:  # left empty by a crash of the machine: compiled again
        library.unlink()
        library = shared_object(files, FLAGS, ("-lm",))
    return library


@lru_cache
def _extension() -> ModuleType | str:
    """The module that calls policies, or why there is none."""
    headers = sysconfig.get_paths()["include"]
    if not (Path(headers) / "Python.h").is_file():
        return f"{headers} has no Python.h (apt install python3-dev)"
    flags = [
        "-O2",
        f"-I{headers}",
        f"-I{np.get_include()}",
        f"-DLILLIPUT_FOR={sys.implementation.cache_tag}_{np.__version__.split('.')[0]}",
    ]
    try:
        library = shared_object([_EXTENSION], flags)
        loader = importlib.machinery.ExtensionFileLoader("lilliput_native", str(library))
        spec = importlib.util.spec_from_file_location("lilliput_native", library, loader=loader)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        loader.exec_module(module)
    except (LilliputError, ImportError) as error:
        return f"the extension cannot be built: {error}"
    return module
