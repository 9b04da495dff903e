"""Which environment a policy is judged in: the one that was named, or the one that its source names."""

import fnmatch
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies.compress import Context
from lilliput.policies.learner import Checkpoint
from lilliput.policies.play import check_fit, check_last_action, make_environment, successor
from lilliput.policies.play.games import how_episodes_differ
from lilliput.policies.policy import Policy, Provenance
from lilliput.task import Task

Progress = Callable[[str, int, int], None]
T = TypeVar("T")


def resolve(origin: Provenance, environment: str | None, environment_kwargs: str) -> Task:
    """The environment to play.

    Raises:
        LilliputError: none was named and the source names none that runs here; or the arguments are not a JSON object.
    """
    if (task := known(origin, environment, environment_kwargs)) is not None:
        return task
    trained_on = origin.environment
    if not trained_on:
        raise LilliputError(
            "the source does not say which environment it plays; name it with --env, or give "
            "--observations FILE, on which actions are compared"
        )
    raise LilliputError(
        f"the policy was trained on {trained_on}, which does not run here; name the environment with --env, "
        f"such as --env {successor(trained_on)}"
    )


def known(origin: Provenance, environment: str | None, environment_kwargs: str) -> Task | None:
    """The environment that was named, now or to an earlier command, or that the source names and that runs; else none.

    Raises:
        LilliputError: the arguments are not a JSON object.
    """
    kwargs = keyword_arguments(environment_kwargs)
    if environment is not None:
        return Task.of(environment, kwargs)
    if (task := kept(origin, kwargs)) is not None:
        return task
    trained_on = origin.environment
    return Task.of(trained_on, kwargs) if trained_on and successor(trained_on) is None else None


def named(checkpoint: Checkpoint, environment: str | None, environment_kwargs: str) -> Checkpoint:
    """The same with the environment which the user named, for the next command; as it was where none was named."""
    if environment is None:
        return checkpoint
    kwargs = json.dumps(keyword_arguments(environment_kwargs), sort_keys=True)
    provenance = replace(checkpoint.provenance, plays=environment, plays_kwargs=kwargs)
    return replace(checkpoint, policy=replace(checkpoint.policy, provenance=provenance))


def kept(origin: Provenance, kwargs: Mapping[str, Any]) -> Task | None:
    """The environment that an earlier command was told for this policy, with its arguments unless others are given."""
    return Task.of(origin.plays, kwargs or keyword_arguments(origin.plays_kwargs or "{}")) if origin.plays else None


def about_the_task(trained_on: str, task: Task) -> tuple[str, ...]:
    """A sentence each: where it is another environment than the source names, and how episodes of a game differ.

    >>> about_the_task("Walker2d-v4", Task("Walker2d-v5"))
    ('trained on Walker2d-v4, played in Walker2d-v5: another task, whose returns are not those of it',)
    >>> about_the_task("", Task("Walker2d-v5")), about_the_task("Follow-v0", Task("my_module:Follow-v0"))
    ((), ())
    """
    said = how_episodes_differ(task.id, task.kwargs)
    games = (said,) if said else ()
    if not trained_on or trained_on.rpartition(":")[2] == task.id.rpartition(":")[2]:
        return games
    return (
        f"trained on {trained_on}, played in {task.id}: another task, whose returns are not those of it",
        *games,
    )


def context_for(
    checkpoint: Checkpoint,
    environment: str | None,
    environment_kwargs: str,
    seed: int,
    progress: Progress,
    max_steps: int | None = None,
    observations: np.ndarray | None = None,
) -> Context:
    """What a recipe may use: the named environment, else the one of the source where it runs here, else none.

    Given observations are what it calibrates on.

    Raises:
        LilliputError: the named one does not run, or is none that the policy can play.
    """
    task = known(checkpoint.provenance, environment, environment_kwargs)
    if task is None:
        return Context(checkpoint.policy, None, seed, observations, progress=progress, learner=checkpoint.learner)
    if environment is not None:
        check(checkpoint.policy, task)
    return Context.from_environment(
        checkpoint,
        task.id,
        seed,
        environment_kwargs=task.kwargs,
        max_steps=max_steps,
        observations=observations,
        progress=progress,
    )


def check(policy: Policy, task: Task) -> None:
    """Holds the policy against the environment that it is to play.

    Raises:
        LilliputError: it cannot, or the environment does not run here.
    """
    worn = behind(policy.provenance, task)
    made = make_environment(worn.id, wrappers=worn.wrappers, environment_kwargs=worn.kwargs)
    try:
        check_fit(policy.observation_space, policy.action_space, made)
        check_last_action(policy, made)
    finally:
        made.close()


def behind(origin: Provenance, task: Task) -> Task:
    """The task behind the policy's own wrappers."""
    return replace(task, wrappers=origin.wrappers)


def matching(named: Sequence[tuple[str, T]], path: str, trained_on: str) -> T | None:
    """What the first pattern names that is like the policy's path, a tail of it, or what the policy was trained on.

    >>> matching([("ppo/*", 1), ("Hopper-v3", 2)], "zoo/ppo/Walker2d-v3_1", "Walker2d-v3")
    1
    >>> matching([("ppo/*", 1), ("Hopper-v3", 2)], "zoo/sac/Hopper-v3_1", "Hopper-v3")
    2
    """
    parts = path.split("/")
    tails = ["/".join(parts[n:]) for n in range(len(parts))]
    for pattern, value in named:
        if any(fnmatch.fnmatchcase(tail, pattern.strip("/")) for tail in (trained_on, *tails)):
            return value
    return None


def keyword_arguments(text: str) -> dict[str, Any]:
    """What `--env-kwargs` gives.

    Raises:
        LilliputError: it is no JSON object.
    """
    try:
        kwargs = json.loads(text)
    except ValueError:
        kwargs = None
    if not isinstance(kwargs, dict):
        raise LilliputError(f"--env-kwargs is {text!r}; it must be a JSON object such as '{{\"continuous\": true}}'")
    return kwargs
