"""Recipes judged by the actions of their artifacts on given observations: where there is no environment to play."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from lilliput.errors import LilliputError, NotApplicable
from lilliput.files import locked
from lilliput.measure.agreement import Agreement, agreement
from lilliput.policies import reference
from lilliput.policies.compress import Context, compress, format_recipe, parse
from lilliput.policies.export import check, export, open_artifact
from lilliput.policies.policy import Policy
from lilliput.policies.runtime import Actor
from lilliput.study.observations import digest_of
from lilliput.study.wing import Progress
from lilliput.study.workspace import Workspace, enter


@final
@dataclass(frozen=True)
class Judged:
    """One recipe in one format; without `agreement`, `reason` says why.

    Attributes:
        recipe: its canonical text; empty for the policy as loaded.
        artifact: the folder of what acted.
        agreement: with the policy's reference.
        said: what the steps of the recipe said of it.
        status: as that of a record.
    """

    recipe: str
    format: str
    status: str = "done"
    reason: str = ""
    model_bytes: int | None = None
    smaller: float | None = None
    artifact: str = ""
    agreement: Agreement | None = None
    said: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As JSON data."""
        return dataclasses.asdict(self)


def compare_actions(
    policy: Policy,
    recipes: Sequence[str],
    formats: Sequence[str],
    observations: np.ndarray,
    seed: int,
    folder: Path,
    progress: Progress,
    *,
    force: bool = False,
) -> tuple[Judged, ...]:
    """The policy as loaded and each recipe in each format, calibrated and judged on the same observations.

    Artifacts that stand in the folder already are taken as they are.

    Raises:
        LilliputError: a recipe that does not parse, or a folder that holds something else.
    """
    wanted = list(dict.fromkeys(["", *(format_recipe(parse(text)) for text in recipes)]))
    enter(folder, "comparison", force=force)
    own = reference.act_episode(policy, observations)  # with a memory, one episode in its order
    found: list[Judged] = []
    with locked(folder):
        for number, (format_, recipe) in enumerate((f, r) for f in formats for r in wanted):
            progress("artifacts", number, len(wanted) * len(formats))
            try:
                found.append(_judged(policy, recipe, format_, observations, own, seed, folder))
            except NotApplicable as error:
                found.append(Judged(recipe, format_, "not_applicable", str(error)))
            except LilliputError as error:
                found.append(Judged(recipe, format_, "failed", str(error)))
    return tuple(found)


def _judged(
    policy: Policy, recipe: str, format_: str, observations: np.ndarray, own: np.ndarray, seed: int, folder: Path
) -> Judged:

    made_from = [policy.digest, recipe, format_, seed, digest_of(observations)]
    name = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:24]
    path = Workspace(folder).artifacts / name
    if not path.exists() or not check(path).ok:
        context = Context.from_observations(policy, observations, seed)
        small = compress(policy, parse(recipe), context) if recipe else policy
        path.parent.mkdir(parents=True, exist_ok=True)
        export(small, format_, path, force=path.exists())
    actor = open_artifact(path)
    manifest = actor.artifact.manifest
    size = manifest.model_bytes
    return Judged(
        recipe,
        format_,
        model_bytes=size,
        smaller=policy.model_bytes / size,
        artifact=str(path.relative_to(folder)),
        agreement=agreement(policy.action_space, own, _actions(actor, observations)),
        said=tuple(one for one in manifest.guesses if one not in policy.provenance.guesses),
    )


def _actions(actor: Actor, observations: np.ndarray) -> np.ndarray:
    if not actor.artifact.manifest.state:
        return actor.batch(observations)
    act = actor.begin()
    return np.stack([np.asarray(act(observation)) for observation in observations])
