"""The smallest policy whose actions on given observations stay near, where there is no environment to play."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from lilliput.policies import file as policy_file
from lilliput.policies import last_action
from lilliput.policies.compress import Context, compress, parse
from lilliput.policies.policy import Policy
from lilliput.shrink import ladder
from lilliput.study.actions import Judged, compare_actions
from lilliput.study.wing import Progress
from lilliput.study.workspace import Workspace


@final
@dataclass(frozen=True)
class Nearest:
    """What was found: `chosen` is the smallest near enough, or None."""

    judged: tuple[Judged, ...]
    chosen: Judged | None


def shrink_by_actions(
    policy: Policy,
    keep: float,
    format_: str,
    observations: np.ndarray,
    seed: int,
    folder: Path,
    progress: Progress,
    *,
    force: bool = False,
) -> Nearest:
    """All that needs no training, judged, and the smallest whose mean error is at most 1 - keep of an action's range.

    Of choices, the share of others. Its policy and artifact stand in the folder, as those of a shrink do.

    Raises:
        LilliputError: the folder holds something else.
    """
    first = ladder.first_steps(policy, ())
    remembers = last_action.apart(policy)[1].has_memory
    recipes = [*ladder.rungs(first, (), remembers=remembers), *ladder.rungs((), (), remembers=remembers)]
    judged = compare_actions(policy, recipes, (format_,), observations, seed, folder, progress, force=force)
    near = [one for one in judged if one.recipe and one.agreement is not None and one.agreement.worst <= 1 - keep]
    chosen = min(near, key=lambda one: one.model_bytes or 0, default=None)
    if chosen is None or (chosen.model_bytes or 0) >= policy.model_bytes:
        return Nearest(judged, None)
    here = Workspace(folder)
    small = compress(policy, parse(chosen.recipe), Context.from_observations(policy, observations, seed))
    policy_file.write(small, here.small_policy, force=True)
    shutil.rmtree(here.small_artifact, ignore_errors=True)
    shutil.copytree(folder / chosen.artifact, here.small_artifact)
    return Nearest(judged, chosen)
