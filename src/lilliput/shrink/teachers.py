"""Several teachers of one environment: the one whose return is to be kept, and those that students may learn from."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from lilliput.errors import LilliputError
from lilliput.files import Format
from lilliput.policies import spaces
from lilliput.policies.compress.context import TEACHER_DIGITS
from lilliput.policies.learner import Checkpoint
from lilliput.policies.play import OutOfTime
from lilliput.shrink.configuration import student_of
from lilliput.shrink.request import Place
from lilliput.shrink.result import Taught
from lilliput.shrink.searched import Searched
from lilliput.shrink.trial import FEW_EPISODES, Trial, attempt
from lilliput.shrink.workers import workers
from lilliput.study.environment import check
from lilliput.study.policies import POLICIES
from lilliput.study.workspace import Workspace
from lilliput.sums import mean
from lilliput.task import Task

FORMAT = Format("teachers", 1, {})
"""Of the file that says which teacher is the best, once that was decided. 1: best."""

_PART = 0.1
"""Of the time, for the episodes that tell which teacher is the best."""
_LEAST_S = 5.0
"""For the same in any case."""


def distinct(policies: Sequence[Checkpoint], task: Task) -> tuple[Checkpoint, ...]:
    """The policies without repetition, in their order.

    Raises:
        LilliputError: one does not play the task, or sees or does something else than the first.
    """
    every = tuple({one.digest: one for one in policies}.values())
    first = every[0].provenance
    shape = spaces.input_shape(every[0].policy.observation_space)
    for one in every:
        check(one.policy, task)
        origin, seen = one.provenance, spaces.input_shape(one.policy.observation_space)
        if origin.wrappers != first.wrappers:
            raise LilliputError(
                f"teachers: {origin.source} plays behind {_named(origin.wrappers)} and {first.source} "
                f"behind {_named(first.wrappers)}; teachers must see the same (--wrapper)"
            )
        if seen != shape:
            raise LilliputError(
                f"teachers: {origin.source} sees {seen} numbers and {first.source} {shape}; they must see the same"
            )
    return every


def _named(wrappers: Sequence[str]) -> str:
    return ", ".join(wrappers) or "no wrapper"


def best(place: Place, policies: Sequence[Checkpoint], say: Callable[[str], None]) -> Checkpoint:
    """The policy of the highest mean return on the first selection seeds; once decided it stays.

    Raises:
        OutOfTime: not an episode of each was over in its part of the time.
    """
    if len(policies) == 1 and not place.here.teachers.exists():
        return policies[0]
    known = decided(place.here, policies)
    if known is not None:
        return known
    if place.here.request.exists():
        return policies[0]  # the folder of one policy's shrink, which refuses several
    for policy in policies:
        POLICIES.keep(policy, place.here)
    with workers(place.request.workers) as processes:
        processes.submit(time.time).result()  # how long a process takes to start is no part of the episodes' time
        until = time.time() + max(_LEAST_S, _PART * place.request.within_s)
        waiting = [
            processes.submit(attempt, replace(place, policy_digest=policy.digest), "", until, None, FEW_EPISODES)
            for policy in policies
        ]
        played = [future.result().returns for future in waiting]
    n = min(map(len, played))
    if not n:
        raise OutOfTime(
            f"an episode takes too long to learn within {place.request.within_s:g} s which teacher is the best; "
            "give more time (--within) or one teacher"
        )
    means = [mean(returns[:n]) for returns in played]
    for policy, value in zip(policies, means, strict=True):
        say(f"{_name(policy, policies)} returns {value:.6g} on {n} episodes")
    found = policies[max(range(len(policies)), key=means.__getitem__)]
    say(f"what is to be kept is the return of {_name(found, policies)}; students may be taught by each")
    FORMAT.write(place.here.teachers, {"best": found.digest})
    return found


def decided(here: Workspace, policies: Sequence[Checkpoint]) -> Checkpoint | None:
    """Which of them was the best in that folder; None where that is open, as it always is of one.

    Raises:
        LilliputError: the best was none of them.
    """
    if not here.teachers.exists():
        return None
    kept = FORMAT.read(here.teachers).get("best")
    found = next((policy for policy in policies if policy.digest == kept), None)
    if found is None:
        raise LilliputError(f"{here.folder} holds a shrink of other teachers; choose another folder or give --force")
    return found


def _name(policy: Checkpoint, policies: Sequence[Checkpoint]) -> str:
    """What it was loaded from; where that does not tell it from the others, who learned it, and its digest."""
    source = policy.provenance.source
    if sum(one.provenance.source == source for one in policies) == 1:
        return source
    told = (policy.provenance.algorithm, policy.digest[:TEACHER_DIGITS])
    return f"{source} ({', '.join(filter(None, told))})"


def taught(
    policies: Sequence[Checkpoint], best_one: Checkpoint, searched: Searched, confirmed: Trial | None
) -> tuple[Taught, ...]:
    """How many students each teacher had, and the return of the best of them; none where there is one teacher only."""
    if len(policies) < 2:
        return ()
    of: dict[str, list[Trial]] = {policy.digest: [] for policy in policies}
    chosen = ""
    for recipe, trial in searched.trials.items():
        student = student_of(recipe) if recipe else None
        if student is None:
            continue
        digest = next((d for d in of if student.teacher and d.startswith(student.teacher)), best_one.digest)
        of[digest].append(trial)
        chosen = digest if confirmed is not None and trial.recipe == confirmed.recipe else chosen
    found = []
    for policy in policies:
        kept = [searched.bar.retention(t.returns)[0] for t in of[policy.digest] if len(t.returns) and not t.reason]
        found.append(
            Taught(
                _name(policy, policies),
                policy.digest[:TEACHER_DIGITS],
                policy.digest == best_one.digest,
                len(of[policy.digest]),
                max(kept, default=None),
                policy.digest == chosen,
            )
        )
    return tuple(found)
