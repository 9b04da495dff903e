"""An ONNX artifact on onnxruntime: one thread, buffers bound once."""

from functools import cached_property
from typing import TYPE_CHECKING, Any, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.onnxruntime_errors import refusals
from lilliput.policies import spaces
from lilliput.policies.artifact import Artifact, read_golden
from lilliput.policies.runtime.onnx_file import MAX_BYTES, check_file

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, IOBinding

MODEL = "model.onnx"
INPUT, OUTPUT = "observation", "action"
BLOCK = 32
"""Observations that `batch` plays at once where that changes nothing."""

TYPES = {"float32": "tensor(float)", "uint8": "tensor(uint8)", "int64": "tensor(int64)"}


@final
class OnnxActor:
    """A running ONNX artifact; not for several threads at once.

    Raises:
        LilliputError: the model is damaged, not what the manifest says, or not what the exporter writes.
    """

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact
        manifest = artifact.manifest
        space, action_space = manifest.observation_space, manifest.action_space
        self._space = space
        self._shape = spaces.input_shape(space)
        self._dtype = np.dtype(spaces.input_dtype(space))
        # What an assignment to the buffer converts as the reference does; images take nothing but bytes unchecked.
        self._kinds = "fiub" if self._dtype == np.float32 else ""
        self._is_choice = isinstance(action_space, spaces.Discrete)
        self._action_shape = spaces.action_shape(action_space)
        self._action_dtype = np.dtype(np.float32 if isinstance(action_space, spaces.Box) else np.int64)
        self._session = open_session(artifact)
        _check_ports(artifact, self._session, self._ports())
        self._run = self._session.run_with_iobinding
        self._observation, self._action, self._binding = self._bind(1)

    def __call__(self, observation: Any) -> Any:
        """The environment's action for one raw observation."""
        if (
            type(observation) is np.ndarray
            and observation.shape == self._shape
            and (observation.dtype == self._dtype or observation.dtype.kind in self._kinds)
        ):
            self._observation[0] = observation
        else:
            self._observation[...] = spaces.one_input(self._space, observation)
        self._run(self._binding)
        return int(self._action[0]) if self._is_choice else self._action[0].copy()

    def batch(self, observations: Any) -> np.ndarray:
        """The actions for a batch of raw observations, batch first; each equal to that of its observation alone."""
        x = spaces.artifact_input(self._space, observations)
        return self._in_blocks(x) if self._blocks_are_exact and len(x) > 1 else self._one_by_one(x)

    def begin(self, seed: int = 0) -> "OnnxActor":
        """Itself: there is nothing to remember."""
        return self

    @cached_property
    def _blocks_are_exact(self) -> bool:
        """Whether each golden observation, at several places in a block, gives the bits that it gives alone.

        Choices, and actions that are mostly at their bounds, show too little of the numbers behind them to tell.
        """
        x = spaces.artifact_input(self._space, read_golden(self.artifact)[0])
        alone = self._one_by_one(x)
        if alone.dtype != np.float32 or len(np.unique(alone)) < alone.size / 2:
            return False
        turns = range(0, BLOCK, 7)
        return all(
            np.roll(alone, turn, axis=0).tobytes() == self._in_blocks(np.roll(x, turn, axis=0)).tobytes()
            for turn in turns
        )

    @cached_property
    def _block(self) -> "tuple[np.ndarray, np.ndarray, IOBinding]":
        return self._bind(BLOCK)

    def _one_by_one(self, x: np.ndarray) -> np.ndarray:
        actions = np.empty((len(x), *self._action_shape), self._action_dtype)
        for row, action in zip(x, actions if actions.ndim > 1 else actions[:, None], strict=True):
            self._observation[0] = row
            self._run(self._binding)
            action[...] = self._action[0]
        return actions

    def _in_blocks(self, x: np.ndarray) -> np.ndarray:
        inputs, outputs, binding = self._block
        actions = np.empty((len(x), *self._action_shape), self._action_dtype)
        for start in range(0, len(x), BLOCK):
            rows = x[start : start + BLOCK]
            # Always a whole block, so that no other order of summation is chosen for what is left over.
            inputs[: len(rows)] = rows
            inputs[len(rows) :] = rows[0]
            self._run(binding)
            actions[start : start + BLOCK] = outputs[: len(rows)]
        return actions

    def _ports(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        return {
            INPUT: (TYPES[self._dtype.name], self._shape),
            OUTPUT: (TYPES[self._action_dtype.name], self._action_shape),
        }

    def _bind(self, n: int) -> "tuple[np.ndarray, np.ndarray, IOBinding]":
        inputs, outputs = (
            np.zeros((n, *self._shape), self._dtype),
            np.zeros((n, *self._action_shape), self._action_dtype),
        )
        binding = self._session.io_binding()
        binding.bind_input(INPUT, "cpu", 0, inputs.dtype.type, inputs.shape, inputs.ctypes.data)
        binding.bind_output(OUTPUT, "cpu", 0, outputs.dtype.type, outputs.shape, outputs.ctypes.data)
        return inputs, outputs, binding


def open_session(artifact: Artifact) -> "InferenceSession":
    """A session of the artifact's model, on one thread.

    Raises:
        LilliputError: the model is damaged, or holds what the exporter never writes.
    """
    import onnxruntime

    path = artifact.folder / MODEL
    if not path.is_file() or path.stat().st_size > MAX_BYTES:
        raise LilliputError(f"{path} is missing or larger than {MAX_BYTES} bytes; export again")
    data = path.read_bytes()
    try:
        check_file(data)
    except LilliputError as error:
        raise LilliputError(f"{path}: {error}") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except refusals() as error:
        raise LilliputError(f"{path}: onnxruntime does not open it: {' '.join(str(error).split())[:200]}") from error


def _check_ports(
    artifact: Artifact, session: "InferenceSession", expected: dict[str, tuple[str, tuple[int, ...]]]
) -> None:
    try:
        ports = [*session.get_inputs(), *session.get_outputs()]
        found = {port.name: (port.type, tuple(port.shape[1:])) for port in ports}
        free = all(port.shape and not isinstance(port.shape[0], int) for port in ports)
    except UnicodeDecodeError:
        raise LilliputError(f"{artifact.folder / MODEL} has a name that is no text: export again") from None
    if found != expected or len(ports) != 2 or not free:
        raise LilliputError(
            f"{artifact.folder / MODEL} takes and gives {found}; its manifest says {expected}: export again"
        )
