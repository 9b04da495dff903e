"""What a task looks at after a step: the numbers of some simulations, as Gymnasium's environments look at one."""

from collections.abc import Callable
from typing import Any, final

import numpy as np
from jaxtyping import Bool, Float64, Int32

from lilliput.policies.play.twin.simulations import Simulations

_NOTHING = np.zeros(0)


@final
class Scene:
    """Some simulations of a task, a row each.

    Attributes:
        env: Gymnasium's own environment, whose settings are the task's.
        action: as it was given to the environment; empty where none was.
        before, after: what the task marks, before the step and now; empty where it marks nothing.
    """

    def __init__(
        self, env: Any, simulations: Simulations, which: Int32[np.ndarray, " n"], action: np.ndarray = _NOTHING
    ) -> None:
        self.env, self.action = env, action
        self.before, self.after = _NOTHING, _NOTHING
        self._simulations, self._which = simulations, which
        self._seen: dict[str, np.ndarray] = {}
        self._told: dict[Callable[[Scene], np.ndarray], np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._which)

    def __getitem__(self, name: str) -> Float64[np.ndarray, "n ..."]:
        """The field of that name of every one, in a new array."""
        if name not in self._seen:
            source = self._simulations.state if name in self._simulations.state else self._simulations.computed
            self._seen[name] = source[name].take(self._which, axis=0)
        return self._seen[name]

    def flat(self, name: str, start: int = 0) -> Float64[np.ndarray, "n k"]:
        """The field as a vector each, from that body or number on."""
        return self[name][:, start:].reshape(len(self), -1)

    def body(self, name: str | int) -> Float64[np.ndarray, "n 3"]:
        """Where a body is."""
        return self["xpos"][:, self.env.model.body(name).id]

    def told(self, question: Callable[["Scene"], np.ndarray]) -> np.ndarray:
        """The answer, found once."""
        if question not in self._told:
            self._told[question] = question(self)
        return self._told[question]

    def none(self) -> Bool[np.ndarray, " n"]:
        """Of no one."""
        return np.zeros(len(self), bool)
