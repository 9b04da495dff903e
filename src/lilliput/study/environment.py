"""Which environment a policy is judged in: the one that was named, or the one that its source names."""

import fnmatch
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from lilliput.errors import LilliputError
from lilliput.policies.compress import Context
from lilliput.policies.policy import Policy
from lilliput.task import Task

Progress = Callable[[str, int, int], None]
T = TypeVar("T")


def resolve(policy: Policy, environment: str | None, environment_kwargs: str) -> Task:
    """The environment to play.

    Raises:
        LilliputError: none was named and the source names none that runs here; or the arguments are not a JSON object.
    """
    kwargs = keyword_arguments(environment_kwargs)
    if environment is not None:
        return Task.of(environment, kwargs)
    trained_on = policy.provenance.environment
    if not trained_on:
        raise LilliputError("the source does not say which environment it plays; name it with --env")
    from lilliput.policies.play import successor

    if (newer := successor(trained_on)) is not None:
        raise LilliputError(
            f"the policy was trained on {trained_on}, which does not run here; name the environment with --env, "
            f"such as --env {newer}"
        )
    return Task.of(trained_on, kwargs)


def context_for(
    policy: Policy, environment: str | None, environment_kwargs: str, seed: int, progress: Progress
) -> Context:
    """What a recipe may use: the named environment, else the one of the source where it runs here, else none.

    Raises:
        LilliputError: the named one does not run, or is none that the policy can play.
    """
    from lilliput.policies.play import successor

    kwargs = keyword_arguments(environment_kwargs)
    trained_on = policy.provenance.environment
    id_ = environment or (trained_on if trained_on and successor(trained_on) is None else None)
    if id_ is None:
        return Context(policy, seed=seed, progress=progress)
    if environment is not None:
        check(policy, Task.of(id_, kwargs))
    return Context.from_environment(policy, id_, seed, environment_kwargs=kwargs, progress=progress)


def check(policy: Policy, task: Task) -> None:
    """Holds the policy against the environment that it is to play.

    Raises:
        LilliputError: it cannot, or the environment does not run here.
    """
    from lilliput.policies.play import check_fit, make_environment

    worn = behind(policy, task)
    made = make_environment(worn.id, wrappers=worn.wrappers, environment_kwargs=worn.kwargs)
    try:
        check_fit(policy.observation_space, policy.action_space, made)
    finally:
        made.close()


def behind(policy: Policy, task: Task) -> Task:
    """The task behind the policy's own wrappers."""
    return replace(task, wrappers=policy.provenance.wrappers)


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
