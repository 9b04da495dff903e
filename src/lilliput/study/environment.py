"""Which environment a policy is judged in: the one that was named, or the one that its source names."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from lilliput.compress import Context
from lilliput.errors import LilliputError
from lilliput.policy import Policy

Progress = Callable[[str, int, int], None]


def resolve(policy: Policy, environment: str | None, environment_kwargs: str) -> tuple[str, Mapping[str, Any]]:
    """The id and the arguments of the environment to play.

    Raises:
        LilliputError: none was named and the source names none that runs here; or the arguments are not a JSON object.
    """
    kwargs = _kwargs(environment_kwargs)
    if environment is not None:
        return environment, kwargs
    trained_on = policy.provenance.environment
    if not trained_on:
        raise LilliputError("the source does not say which environment it plays; name it with --env")
    from lilliput.rollout import successor

    if (newer := successor(trained_on)) is not None:
        raise LilliputError(
            f"the policy was trained on {trained_on}, which does not run here; name the environment with --env, "
            f"such as --env {newer}"
        )
    return trained_on, kwargs


def context_for(
    policy: Policy, environment: str | None, environment_kwargs: str, seed: int, progress: Progress
) -> Context:
    """What a recipe may use: the named environment, else the one of the source where it runs here, else none."""
    from lilliput.rollout import successor

    kwargs = _kwargs(environment_kwargs)
    trained_on = policy.provenance.environment
    id_ = environment or (trained_on if trained_on and successor(trained_on) is None else None)
    if id_ is None:
        return Context(policy, seed=seed, progress=progress)
    return Context.from_environment(policy, id_, seed, environment_kwargs=kwargs, progress=progress)


def _kwargs(text: str) -> dict[str, Any]:
    try:
        kwargs = json.loads(text)
    except ValueError:
        kwargs = None
    if not isinstance(kwargs, dict):
        raise LilliputError(f"--env-kwargs is {text!r}; it must be a JSON object such as '{{\"continuous\": true}}'")
    return kwargs
