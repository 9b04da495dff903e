"""What an answer is judged on: an environment that is played, or questions that are asked."""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from lilliput.errors import LilliputError

RETURN = "episode_return"
"""What policies are judged by."""

ITEM_SCORE = "item_score"
"""What models are judged by where a task has a value an item; what people call it is known to the task."""

DRAWN_SCORE = "drawn_score"
"""The same where the metric is no mean of items: its value of all of them, then that of each draw of them."""

MODEL_SCORES = (ITEM_SCORE, DRAWN_SCORE)


@final
@dataclass(frozen=True)
class Task:
    """A task by its name and arguments; the items of it that are judged, such as episode seeds, stand beside it.

    Attributes:
        id: an environment's, as Gymnasium registers it, or the name of a set of questions.
        arguments: of the task, as sorted JSON text of an object.
        wrappers: what stands between the task and the one who answers, the innermost first.
        score: the quantity that answers are judged by, one value an item.
    """

    id: str
    arguments: str = "{}"
    wrappers: tuple[str, ...] = ()
    score: str = RETURN

    @classmethod
    def of(
        cls, id_: str, arguments: Mapping[str, Any] | None = None, wrappers: tuple[str, ...] = (), score: str = RETURN
    ) -> "Task":
        """The task with these arguments.

        >>> Task.of("LunarLander-v3", {"gravity": -9.0, "continuous": True}).arguments
        '{"continuous": true, "gravity": -9.0}'

        Raises:
            LilliputError: an argument that JSON cannot hold, so that a record could not name it.
        """
        try:
            text = json.dumps(dict(arguments or {}), sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise LilliputError(f"{id_}: the arguments cannot be written as JSON: {str(error)[:80]}") from error
        return cls(id_, text, tuple(wrappers), score)

    @property
    def kwargs(self) -> dict[str, Any]:
        """The arguments as data."""
        return json.loads(self.arguments)

    @functools.cached_property
    def base(self) -> str:
        """The id, or that of the task that this one changes (its argument `of`)."""
        return str(self.kwargs.get("of", self.id))

    @property
    def changes(self) -> dict[str, Any]:
        """What is changed of the base; of models' tasks nothing: their arguments say what chance has to know."""
        if self.score in MODEL_SCORES:
            return {}
        return {name: value for name, value in self.kwargs.items() if name != "of"}

    @functools.cached_property
    def changed(self) -> str:
        """What is changed, in words; empty where nothing is."""
        return " ".join(f"{name}={json.dumps(value)}" for name, value in self.changes.items())

    def __str__(self) -> str:
        """The task in words: its base and what is changed of it.

        >>> str(Task("Hopper-v4")), str(Task.of("LunarLander-v3", {"continuous": True}))
        ('Hopper-v4', 'LunarLander-v3 continuous=true')
        >>> str(Task.of("my.module:Perturbed-v0", {"mass": 1.3, "of": "Hopper-v4"}))
        'Hopper-v4 mass=1.3'
        """
        return f"{self.base} {self.changed}".rstrip()
