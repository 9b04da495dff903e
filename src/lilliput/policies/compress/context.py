"""Everything that a compression step may use besides the policy itself."""

import hashlib
import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, assert_never, final

import numpy as np
from jaxtyping import Float64, Shaped

from lilliput.errors import LilliputError
from lilliput.policies import spaces
from lilliput.policies.learner import NOTHING, Checkpoint, Learner, checkpoint_of
from lilliput.policies.play import EnvironmentSpec, SeedPlan, collect, collect_episodes
from lilliput.policies.policy import Policy

if TYPE_CHECKING:
    from lilliput.policies import play

Source = Literal["on_policy", "noisy_policy", "random_policy", "first_steps", "gaussian"]
"""Whose observations: the teacher's own; the teacher's under action noise; the uniform-random policy's; the first
of one of the teacher's episodes; numbers from N(0, 1)."""

DEFAULT_OBSERVATIONS = 2048
MAX_OBSERVATIONS = 1_000_000

TEACHER_DIGITS = 12
"""Of a teacher's digest, where a recipe names it."""

_EPISODES_A_DRAW = 4096
"""Episode seeds set aside for each draw of calibration observations, so that draws share no episode."""


@final
class Abandoned(LilliputError):
    """A step that `Context.goes_on` ended.

    Attributes:
        returns: those for which it did.
    """

    def __init__(self, message: str, returns: Float64[np.ndarray, " n"]) -> None:
        super().__init__(message)
        self.returns = returns


@final
@dataclass(frozen=True, eq=False)
class Context:
    """What a step may use; nothing is played before a step asks for observations.

    Attributes:
        teacher: the policy as loaded: whose episodes calibrate, and what students imitate.
        environment: where to play; None: only the given observations can be had.
        seed: of everything random.
        given: observations to calibrate on instead of the policy's own episodes, where steps ask for these.
        work_folder: for files that a long step keeps in order to go on after an interruption.
        learner: what is known of how the teacher was learned, which students can learn by.
        teachers: others that a step may name by the beginning of their digest, which play what `teacher` plays.
        deadline: in `time.monotonic()` seconds, after which a long step stops with what it has.
        progress: called with what is being done, how much is done and of how much.
        say: called with a sentence that the user should read.
        goes_on: asked, with the returns of the best student before it is quantized, whether that is worth it; where it
            is not the step raises `Abandoned`.
    """

    teacher: Policy
    environment: "play.EnvironmentSpec | None" = None
    seed: int = 0
    given: np.ndarray | None = None
    work_folder: Path | None = None
    deadline: float | None = None
    progress: Callable[[str, int, int], None] | None = None
    say: Callable[[str], None] | None = None
    teachers: tuple[Checkpoint, ...] = ()
    learner: Learner = NOTHING
    goes_on: Callable[[Float64[np.ndarray, " n"]], bool] | None = None
    _collected: dict[tuple[Source, int, int], np.ndarray] = field(default_factory=dict, repr=False)

    @classmethod
    def from_environment(
        cls,
        subject: Policy | Checkpoint,
        environment: str,
        seed: int = 0,
        *,
        wrappers: tuple[str, ...] | None = None,
        environment_kwargs: Mapping[str, Any] | None = None,
        max_steps: int | None = None,
        observations: Any = None,
        work_folder: str | Path | None = None,
        deadline: float | None = None,
        progress: Callable[[str, int, int], None] | None = None,
        say: Callable[[str], None] | None = None,
        teachers: tuple[Checkpoint, ...] = (),
    ) -> "Context":
        """A context that plays that environment; its wrappers are the policy's own unless given.

        Of a checkpoint, students can learn by its critic and its spread of actions; of a policy alone they cannot.

        Raises:
            LilliputError: observations are given, and are none, not finite or not of the policy's shape.
        """
        policy, learner = checkpoint_of(subject).policy, checkpoint_of(subject).learner
        wrappers = policy.provenance.wrappers if wrappers is None else wrappers
        spec = EnvironmentSpec(environment, tuple(wrappers), dict(environment_kwargs or {}), max_steps)
        given = None if observations is None else _checked(policy, observations)
        work = None if work_folder is None else Path(work_folder)
        return cls(policy, spec, seed, given, work, deadline, progress, say, teachers, learner)

    @classmethod
    def from_observations(cls, policy: Policy, observations: Any, seed: int = 0) -> "Context":
        """A context without an environment, calibrated on these raw observations.

        Raises:
            LilliputError: they are none, not finite or not of the policy's shape.
        """
        return cls(policy, None, seed, _checked(policy, observations))

    def taught_by(self, digest: str) -> "Context":
        """The same with another teacher, whose digest begins so.

        Raises:
            LilliputError: none or several of them do.
        """
        every = (Checkpoint(self.teacher, self.learner), *self.teachers)
        named = [one for one in every if one.digest.startswith(digest)]
        if len(named) != 1:
            known = ", ".join(one.digest[:TEACHER_DIGITS] for one in every)
            raise LilliputError(
                f"teacher {digest!r} is {'none' if not named else 'several'} of those that are here: {known}; "
                "leave it out and give the teacher as the source"
            )
        return replace(self, teacher=named[0].policy, learner=named[0].learner, teachers=(), _collected={})

    @property
    def has_observations(self) -> bool:
        """Whether observations can be had at all."""
        return self.environment is not None or self.given is not None

    def observations(
        self, n: int = DEFAULT_OBSERVATIONS, source: Source = "on_policy", draw: int = 0
    ) -> Shaped[np.ndarray, "n ..."]:
        """Raw calibration observations from at least ten episodes, the same each time; other draws share no episode.

        Raises:
            LilliputError: there is no environment to take them from.
        """
        key = (source, n, draw)
        if key not in self._collected:
            own = self.given is not None and (source, draw) == ("on_policy", 0)
            found = self._given(n, source, draw) if own or self.environment is None else self._collect(n, source, draw)
            found.flags.writeable = False
            self._collected[key] = found
        return self._collected[key]

    def episodes(
        self, n: int = DEFAULT_OBSERVATIONS, source: Source = "on_policy", draw: int = 0
    ) -> tuple[np.ndarray, ...]:
        """Raw observations of whole episodes in their order, at least ten episodes and n observations in all.

        Given observations are one episode.

        Raises:
            LilliputError: there is no environment to play.
        """
        own = self.given is not None and (source, draw) == ("on_policy", 0)
        if own or self.environment is None:
            return (self._given(MAX_OBSERVATIONS, source, draw),)
        if source not in ("on_policy", "noisy_policy", "random_policy"):
            raise LilliputError(f"source {source!r} gives no episodes; a policy with a memory takes on_policy")
        return collect_episodes(
            self.teacher,
            self.environment,
            n,
            itertools.islice(SeedPlan(self.seed).stream("calibration"), draw * _EPISODES_A_DRAW, None),
            source=_rollout_source(source),
            deadline=self.deadline,
        )

    def rng(self, purpose: str) -> np.random.Generator:
        """A random generator for that purpose, the same each time."""
        digest = hashlib.sha256(purpose.encode()).digest()
        return np.random.default_rng(np.random.SeedSequence([self.seed, int.from_bytes(digest[:8], "little")]))

    def selection_seeds(self, n: int) -> tuple[int, ...]:
        """Episode seeds for choosing among candidates; nothing is calibrated or confirmed on them."""
        return SeedPlan(self.seed).episodes("selection", n)

    def tell(self, sentence: str) -> None:
        """Pass on what the user should read."""
        if self.say is not None:
            self.say(sentence)

    @property
    def seconds_left(self) -> float:
        """Until the deadline; infinite without one."""
        return float("inf") if self.deadline is None else self.deadline - time.monotonic()

    def _given(self, n: int, source: Source, draw: int) -> np.ndarray:
        if self.given is None:
            raise LilliputError(
                "this step needs calibration observations: name the environment (--env ID) or a file of them "
                "(--observations FILE)"
            )
        if source != "on_policy":
            raise LilliputError(
                f"source {source!r} needs the environment (--env ID); there are only given observations"
            )
        if draw != 0:
            raise LilliputError(f"draw {draw} needs the environment (--env ID); there is one set of given observations")
        # Fewer than asked for are what there is: all of them.
        every = np.linspace(0, len(self.given) - 1, min(n, len(self.given))).astype(np.int64)
        return self.given[every]

    def _collect(self, n: int, source: Source, draw: int) -> np.ndarray:
        assert self.environment is not None
        plan = SeedPlan(self.seed)
        seeds = itertools.islice(plan.stream("calibration"), draw * _EPISODES_A_DRAW, None)
        report = self.progress

        def progress(done: int, of: int) -> None:
            if report is not None:
                report("calibration observations", done, of)

        return collect(
            self.teacher,
            self.environment.id,
            n,
            seeds,
            np.random.default_rng(np.random.SeedSequence([self.seed, draw, 0xCA11])),
            source=_rollout_source(source),
            wrappers=self.environment.wrappers,
            environment_kwargs=self.environment.kwargs,
            max_steps=self.environment.max_steps,
            deadline=self.deadline,
            progress=progress,
        )


def _checked(policy: Policy, observations: Any) -> np.ndarray:
    given = spaces.flatten(policy.observation_space, observations)
    if not len(given) or not np.isfinite(given).all():
        raise LilliputError(f"{len(given)} calibration observations; at least one is needed, and all must be finite")
    return given


def _rollout_source(source: Source) -> "play.Source":
    match source:
        case "on_policy":
            return "policy"
        case "noisy_policy" | "random_policy" | "first_steps" | "gaussian":
            return source
        case _:
            assert_never(source)
