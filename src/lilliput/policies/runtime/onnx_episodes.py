"""An ONNX artifact with a memory on onnxruntime: each episode keeps its state in buffers of its own."""

from typing import Any, NoReturn, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import spaces
from lilliput.policies.artifact import Artifact
from lilliput.policies.runtime.memory import first_state, refuse_without_beginning
from lilliput.policies.runtime.onnxruntime import MODEL, TYPES, open_session

INPUT, OUTPUT = "obs", "actions"


@final
class OnnxEpisodes:
    """A running ONNX artifact with a memory: it acts in episodes that begin.

    Raises:
        LilliputError: the model is damaged, not what the manifest says, or not what the exporter writes.
    """

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact
        self._session = open_session(artifact)
        self._first = first_state(artifact.manifest)
        _check_ports(artifact, self._session, self._first)

    def begin(self, seed: int = 0) -> "OnnxEpisode":
        """The act of an episode of its own; not for several threads at once."""
        return OnnxEpisode(self.artifact, self._session, self._first)

    def __call__(self, observation: Any) -> NoReturn:
        """Refuses: an action follows from the episode."""
        refuse_without_beginning(self.artifact)

    def batch(self, observations: Any) -> NoReturn:
        """Refuses: an action follows from the episode."""
        refuse_without_beginning(self.artifact)


@final
class OnnxEpisode:
    """One episode of it."""

    def __init__(self, artifact: Artifact, session: Any, first: dict[str, np.ndarray]) -> None:
        manifest = artifact.manifest
        self._space = manifest.observation_space
        self._is_choice = isinstance(manifest.action_space, spaces.Discrete)
        shape = spaces.action_shape(manifest.action_space)
        dtype = np.dtype(np.float32 if isinstance(manifest.action_space, spaces.Box) else np.int64)
        self._observation = np.zeros((1, *spaces.input_shape(self._space)), spaces.input_dtype(self._space))
        self._action = np.zeros((1, *shape), dtype)
        self._state = [(state[:, None].copy(), np.zeros_like(state[:, None])) for state in first.values()]
        self._run, self._binding = session.run_with_iobinding, session.io_binding()
        bound = [
            (INPUT, self._observation),
            *zip((f"{name}_in" for name in first), (b for b, _ in self._state), strict=True),
        ]
        for name, array in bound:
            self._binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        given = [
            (OUTPUT, self._action),
            *zip((f"{name}_out" for name in first), (a for _, a in self._state), strict=True),
        ]
        for name, array in given:
            self._binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)

    def __call__(self, observation: Any) -> Any:
        """The environment's action at the next step."""
        self._observation[...] = spaces.one_input(self._space, observation)
        self._run(self._binding)
        for before, after in self._state:
            before[...] = after
        return int(self._action[0]) if self._is_choice else self._action[0].copy()


def _check_ports(artifact: Artifact, session: Any, first: dict[str, np.ndarray]) -> None:
    manifest = artifact.manifest
    is_real = isinstance(manifest.action_space, spaces.Box)
    expected: dict[str, tuple[str, tuple[Any, ...]]] = {
        INPUT: (
            TYPES[spaces.input_dtype(manifest.observation_space)],
            ("batch", *spaces.input_shape(manifest.observation_space)),
        ),
        OUTPUT: (TYPES["float32" if is_real else "int64"], ("batch", *spaces.action_shape(manifest.action_space))),
    }
    for name, state in first.items():
        for end in ("in", "out"):
            expected[f"{name}_{end}"] = (TYPES["float32"], (state.shape[0], "batch", state.shape[1]))
    try:
        ports = [*session.get_inputs(), *session.get_outputs()]
        found = {port.name: (port.type, tuple(port.shape)) for port in ports}
    except UnicodeDecodeError:
        raise LilliputError(f"{artifact.folder / MODEL} has a name that is no text: export again") from None
    if found != expected or len(ports) != len(expected):
        raise LilliputError(
            f"{artifact.folder / MODEL} takes and gives {found}; its manifest says {expected}: export again"
        )
