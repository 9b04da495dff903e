"""Many simulations of one MuJoCo model, stepped in C by this thread (`mjbatch.h`, which MuJoCo has from 4.0 on).

`mujoco.batch` is this for Python; it has no way to `mjb_apply`, without which there are no contact forces after a step.
"""

import contextlib
import copy
import ctypes
import functools
import importlib
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Float64, Int32

OLDEST = (4, 0)
"""The first MuJoCo that has it."""

_ERROR = 1_000


@final
class SimulationError(Exception):
    """What MuJoCo says went wrong, of the first simulation where something did."""

    def __init__(self, simulation: int, message: str) -> None:
        super().__init__(message)
        self.simulation = simulation


class _Config(ctypes.Structure):
    """`mjBatchConfig`."""

    _fields_ = (("nthread", ctypes.c_int), ("persistent", ctypes.c_bool))


@final
class Simulations:
    """So many simulations of a copy of the model.

    Attributes:
        state: by name the positions, velocities and controls; what is written there holds from the next call on.
        found: by name what the last call computed of a simulation, as `mj_step` leaves it: one substep behind.
    """

    def __init__(self, model: Any, data: Any, n: int, fields: tuple[str, ...], forces: bool) -> None:
        """Make them.

        Args:
            model: an `MjModel`.
            data: an `MjData` of it, for the shapes of its fields.
            n: how many.
            fields: of `MjData`, to be found after every call.
            forces: whether a step also computes the forces between bodies (`cfrc_ext`), as Gymnasium's does.

        Raises:
            ValueError: this MuJoCo cannot simulate such a model like that.
        """
        mujoco: Any = importlib.import_module("mujoco")
        kinds, library = mujoco.mjtState, _library()
        if model.ntree == 1:
            # All constraints are one island: to look for islands changes no bit, and takes a twentieth of a step.
            model = copy.copy(model)
            model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_ISLAND.value
        error = ctypes.create_string_buffer(_ERROR)
        # What `mj_rnePostConstraint` needs of the step is kept where every simulation has an MjData of its own.
        config = _Config(1, forces)
        batch = library.mjb_makeBatch(model._address, n, ctypes.byref(config), error, _ERROR)
        if not batch:
            raise ValueError(error.value.decode(errors="replace"))
        self._close = weakref.finalize(self, library.mjb_deleteBatch, batch)
        self._library, self._batch, self._forces = library, batch, forces
        size, width = ctypes.c_int(), library.mjb_nstate(batch)
        rows, first = _array(library.mjb_state(batch), (n, width)), library.mjb_state(batch)
        self.state: dict[str, Float64[np.ndarray, "n k"]] = {}
        for name in ("qpos", "qvel", "ctrl"):
            kind = getattr(kinds, f"mjSTATE_{name.upper()}").value
            at = (library.mjb_stateComponent(batch, kind, ctypes.byref(size)) - first) // 8
            self.state[name] = rows[:, at : at + size.value]
        self.found: dict[str, np.ndarray] = {}
        for name in fields:
            element = ctypes.c_int()
            address = library.mjb_output(batch, name.encode(), ctypes.byref(size), ctypes.byref(element))
            shape = getattr(data, name).shape
            if not address or element.value != 8 or size.value != np.prod(shape):
                raise ValueError(f"MuJoCo does not give {name} as float64")
            self.found[name] = _array(address, (n, *shape))

    def reset(self, which: Int32[np.ndarray, " k"]) -> None:
        """Makes those as `mj_resetData` does, with nothing computed."""
        self._check(which, self._library.mjb_reset(self._batch, which.ctypes.data, len(which), None, 0))

    def forward(self, which: Int32[np.ndarray, " k"]) -> None:
        """Computes what follows from the state of those, as `mj_forward` does."""
        self._check(which, self._library.mjb_forward(self._batch, which.ctypes.data, len(which), _ALL_STAGES))

    def step(self, which: Int32[np.ndarray, " k"], substeps: int) -> None:
        """Steps those so often."""
        library, ids = self._library, which.ctypes.data
        with clock_stopped():
            self._check(which, library.mjb_step(self._batch, ids, len(which), substeps, 0))
        if self._forces:
            self._check(which, library.mjb_apply(self._batch, ids, len(which), _forces(), None, 0))
            # What a function computes is found after the next call only, be it one that does nothing.
            self._check(which, library.mjb_forward(self._batch, ids, len(which), 0))

    def close(self) -> None:
        """Frees them; the arrays are not to be read any more."""
        self.state, self.found = {}, {}
        self._close()

    def _check(self, which: Int32[np.ndarray, " k"], failed: int) -> None:
        if not failed:
            return
        status = _ints(self._library.mjb_status(self._batch), int(which.max()) + 1)
        first = int(which[np.flatnonzero(status[which])[0]])
        raise SimulationError(first, self._library.mjb_error(self._batch, first).decode(errors="replace"))


@contextlib.contextmanager
def clock_stopped() -> Iterator[None]:
    """While MuJoCo does not time its own stages: its Python module has it read the clock at each, a fifth of a step.

    `mujoco.set_mjcb_time(None)` does not stop it (4.0.0). No number of a simulation depends on it.
    """
    clock = _clock()
    before, clock.value = clock.value, None
    try:
        yield
    finally:
        clock.value = before


@functools.cache
def _clock() -> ctypes.c_void_p:
    return ctypes.c_void_p.in_dll(_library(), "mjcb_time")


_ALL_STAGES = 3
"""`mjSTAGE_ACC`."""


def _array(address: int, shape: tuple[int, ...]) -> Float64[np.ndarray, "n ..."]:
    """The float64 numbers that stand there."""
    if not np.prod(shape):
        return np.zeros(shape)
    return np.ctypeslib.as_array(ctypes.cast(address, ctypes.POINTER(ctypes.c_double)), shape)


def _ints(address: int, n: int) -> Int32[np.ndarray, " n"]:
    return np.ctypeslib.as_array(ctypes.cast(address, ctypes.POINTER(ctypes.c_int)), (n,))


@functools.cache
def _library() -> Any:
    """MuJoCo's functions; the module has loaded the same file.

    Raises:
        ValueError: there is no such file, or it has not these functions.
    """
    import mujoco

    found = [path for path in Path(mujoco.__file__).parent.iterdir() if _is_library(path)]
    if len(found) != 1:
        raise ValueError("MuJoCo's library is not where its module is")
    library = ctypes.CDLL(str(found[0]))
    pointer, number = ctypes.c_void_p, ctypes.c_int
    try:
        for name, result, *arguments in (
            ("mjb_makeBatch", pointer, pointer, number, pointer, pointer, number),
            ("mjb_deleteBatch", None, pointer),
            ("mjb_nstate", number, pointer),
            ("mjb_state", pointer, pointer),
            ("mjb_stateComponent", pointer, pointer, number, pointer),
            ("mjb_output", pointer, pointer, ctypes.c_char_p, pointer, pointer),
            ("mjb_status", pointer, pointer),
            ("mjb_error", ctypes.c_char_p, pointer, number),
            ("mjb_reset", number, pointer, pointer, number, pointer, number),
            ("mjb_forward", number, pointer, pointer, number, number),
            ("mjb_step", number, pointer, pointer, number, number, number),
            ("mjb_apply", number, pointer, pointer, number, pointer, pointer, number),
        ):
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except AttributeError as error:
        raise ValueError(str(error)) from None
    return library


def _is_library(path: Path) -> bool:
    name = path.name
    return name.startswith("libmujoco.") and (".so" in name or name.endswith(".dylib"))


@functools.cache
def _forces() -> int:
    """The address of `mj_rnePostConstraint`: it takes model and data, and looks at nothing else that it is given."""
    address = ctypes.cast(_library().mj_rnePostConstraint, ctypes.c_void_p).value
    assert address is not None
    return address
