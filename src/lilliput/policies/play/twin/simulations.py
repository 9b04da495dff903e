"""Many simulations of one MuJoCo model, stepped in C by this thread (`mjbatch.h`, which MuJoCo has from 4.0 on).

`mujoco.batch` is this for Python; it has no way to `mjb_apply`, without which there are no contact forces after a step.
"""

import copy
import ctypes
import functools
import importlib
import weakref
from typing import Any, final

import numpy as np
from jaxtyping import Float64, Int32

from lilliput.policies.play.mujoco_library import clock_stopped, library

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
        computed: by name what the last call computed of a simulation, as `mj_step` leaves it: one substep behind.
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
        kinds, functions = mujoco.mjtState, _functions()
        if model.ntree == 1:
            # All constraints are one island: to look for islands changes no bit, and takes a twentieth of a step.
            model = copy.copy(model)
            model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_ISLAND.value
        error = ctypes.create_string_buffer(_ERROR)
        # What `mj_rnePostConstraint` needs of the step is kept where every simulation has an MjData of its own.
        config = _Config(1, forces)
        batch = functions.mjb_makeBatch(model._address, n, ctypes.byref(config), error, _ERROR)
        if not batch:
            raise ValueError(error.value.decode(errors="replace"))
        self._close = weakref.finalize(self, functions.mjb_deleteBatch, batch)
        self._functions, self._batch, self._forces = functions, batch, forces
        size, width = ctypes.c_int(), functions.mjb_nstate(batch)
        rows, first = _array(functions.mjb_state(batch), (n, width)), functions.mjb_state(batch)
        self.state: dict[str, Float64[np.ndarray, "n k"]] = {}
        for name in ("qpos", "qvel", "ctrl"):
            kind = getattr(kinds, f"mjSTATE_{name.upper()}").value
            at = (functions.mjb_stateComponent(batch, kind, ctypes.byref(size)) - first) // 8
            self.state[name] = rows[:, at : at + size.value]
        self.computed: dict[str, np.ndarray] = {}
        for name in fields:
            element = ctypes.c_int()
            address = functions.mjb_output(batch, name.encode(), ctypes.byref(size), ctypes.byref(element))
            shape = getattr(data, name).shape
            if not address or element.value != 8 or size.value != np.prod(shape):
                raise ValueError(f"MuJoCo does not give {name} as float64")
            self.computed[name] = _array(address, (n, *shape))

    def reset(self, which: Int32[np.ndarray, " k"]) -> None:
        """Makes those as `mj_resetData` does, with nothing computed."""
        self._check(which, self._functions.mjb_reset(self._batch, which.ctypes.data, len(which), None, 0))

    def forward(self, which: Int32[np.ndarray, " k"]) -> None:
        """Computes what follows from the state of those, as `mj_forward` does."""
        self._check(which, self._functions.mjb_forward(self._batch, which.ctypes.data, len(which), _ALL_STAGES))

    def step(self, which: Int32[np.ndarray, " k"], substeps: int) -> None:
        """Steps those so often."""
        functions, ids = self._functions, which.ctypes.data
        with clock_stopped():
            self._check(which, functions.mjb_step(self._batch, ids, len(which), substeps, 0))
        if self._forces:
            self._check(which, functions.mjb_apply(self._batch, ids, len(which), _forces(), None, 0))
            # What a function computes is found after the next call only, be it one that does nothing.
            self._check(which, functions.mjb_forward(self._batch, ids, len(which), 0))

    def close(self) -> None:
        """Frees them; the arrays are not to be read any more."""
        self.state, self.computed = {}, {}
        self._close()

    def _check(self, which: Int32[np.ndarray, " k"], failed: int) -> None:
        if not failed:
            return
        status = _ints(self._functions.mjb_status(self._batch), int(which.max()) + 1)
        first = int(which[np.flatnonzero(status[which])[0]])
        raise SimulationError(first, self._functions.mjb_error(self._batch, first).decode(errors="replace"))


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
def _functions() -> Any:
    """MuJoCo's functions with what they take.

    Raises:
        ValueError: it has not these functions.
    """
    found = library()
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
            function = getattr(found, name)
            function.restype, function.argtypes = result, arguments
    except AttributeError as error:
        raise ValueError(str(error)) from None
    return found


@functools.cache
def _forces() -> int:
    """The address of `mj_rnePostConstraint`: it takes model and data, and looks at nothing else that it is given."""
    address = ctypes.cast(_functions().mj_rnePostConstraint, ctypes.c_void_p).value
    assert address is not None
    return address
