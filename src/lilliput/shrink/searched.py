"""What a search found: its trials, what they are held against, and why it ended."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, final

from lilliput.shrink.bar import Bar
from lilliput.shrink.configuration import Student
from lilliput.shrink.trial import Trial

Ended = Literal["time", "nothing_left", "too_slow"]


@final
@dataclass(frozen=True, eq=False)
class Searched:
    """All trials by recipe, and what they are held against.

    Attributes:
        ended: since the time was over or, before that, since nothing was left that promises anything, or nothing of
            it that could be made in the time that was left.
    """

    trials: Mapping[str, Trial]
    bar: Bar
    students: Mapping[str, Student] = field(default_factory=dict)
    ended: Ended = "time"


End = Callable[[Searched], float]
"""When the search is to end, in `time.time()` seconds, after what it found so far."""
