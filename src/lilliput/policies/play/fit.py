"""Whether a policy can play an environment: shapes, the bounds of its actions, the units of its observations."""

from typing import TYPE_CHECKING, Any

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import last_action, layers, reference, spaces
from lilliput.policies.play.environment import EnvironmentSpec, action_space_of, observation_space_of
from lilliput.policies.play.player import EpisodeUnderWay
from lilliput.policies.policy import Policy
from lilliput.sums import mean

if TYPE_CHECKING:
    import gymnasium

_OLD_ANT = "; a policy of Ant-v2 or -v3 plays Ant-v4 with --wrapper zero_contact_forces"
_ROUNDING = 1e-5
"""Of a width: what float32 leaves of a bound."""
_OTHER = 16.0
_OPEN = 1e9
"""Some environments write a bound where they mean none."""
_STEPS = 10
"""Of an episode, in which a last action shows itself, and whether an environment draws from its seed."""
_NOISE = 0.3
"""Of the size of actions: how far an environment's noise may put a last action."""


def check_fit(
    observation_space: spaces.ObservationSpace, action_space: spaces.ActionSpace, environment: "gymnasium.Env"
) -> None:
    """Check that a policy with these spaces can play the environment; number types may differ, and open bounds.

    Raises:
        LilliputError: it cannot: another shape, actions in other bounds, or observations in other units.
    """
    name = environment.spec.id if environment.spec is not None else str(environment)
    for what, policy, offered in (
        ("observation", observation_space, observation_space_of(environment)),
        ("action", action_space, action_space_of(environment)),
    ):
        if _signature(policy) != _signature(offered):
            advice = (
                "name the environment it was trained on, with its wrappers (--wrapper) and arguments (--env-kwargs)"
                f"{_OLD_ANT if _signature(policy) == (111,) and 'Ant' in name else ''}"
            )
            if isinstance(policy, spaces.Box) and policy.shape == (_n_choices(offered),):
                advice = "if its numbers are logits or Q-values, load it with action='discrete' (--action discrete)"
            raise LilliputError(
                f"the policy's {what} space is {spaces.describe(policy)}; {name} has {spaces.describe(offered)}; "
                f"{advice}"
            )
    actions, offered = action_space, action_space_of(environment)
    if isinstance(actions, spaces.Box) and isinstance(offered, spaces.Box) and not _same_bounds(actions, offered):
        raise LilliputError(
            f"the policy's actions lie in {_range(actions)}, those of {name} in {_range(offered)}; load it with "
            "--rescale-action where they are to be moved to these bounds (an actor that ends in tanh), with "
            "--no-rescale-action where they are meant as they are, or name the environment it was trained on"
        )
    observed, seen = observation_space, observation_space_of(environment)
    if isinstance(observed, spaces.Box) and isinstance(seen, spaces.Box) and _other_units(observed, seen):
        raise LilliputError(
            f"the policy's observations lie in {_range(observed)}, those of {name} in {_range(seen)}: other units; "
            "name the environment it was trained on, with its wrappers (--wrapper) and arguments (--env-kwargs)"
        )


def check_last_action(policy: Policy, environment: "gymnasium.Env") -> None:
    """Check that the environment gives the last action where the policy remembers it itself; it is played a little.

    Raises:
        LilliputError: something else stands there.
    """
    front, _ = last_action.apart(policy)
    if not front:
        return
    recall = front[1]
    assert isinstance(recall, layers.PreviousAction)
    state, (observation, _) = reference.start(policy), environment.reset(seed=0)
    given, acted = list[np.ndarray](), list[np.ndarray]()
    for _ in range(_STEPS):
        batch = (
            {key: np.asarray(one)[None] for key, one in observation.items()}
            if isinstance(observation, dict)
            else np.asarray(observation)[None]
        )
        x = spaces.network_input(policy.observation_space, batch)
        given.append(x[0, recall.start : recall.start + recall.size])
        acted.append(state[0].reshape(-1))
        state, action = reference.step(policy, state, batch)
        observation, _, terminated, truncated, _ = environment.step(action[0])
        if terminated or truncated:
            break
    off, size = (mean(np.abs(one, dtype=np.float64).ravel()) for one in (np.subtract(given, acted), np.array(acted)))
    if not off <= _NOISE * size:
        name = environment.spec.id if environment.spec is not None else str(environment)
        raise LilliputError(
            f"numbers {recall.start} to {recall.start + recall.size - 1} of the observation of {name} are not the "
            f"policy's last action: they are {off:.2g} off it, which is {size:.2g} large; say where it stands "
            "(--previous-action), or leave that away"
        )


def follows_its_seed(environment: EnvironmentSpec) -> bool:
    """Whether two fresh environments play one episode of one seed: what drawn actions bring is the same to the bit.

    Environments that are known to reset cleanly are not asked.

    Raises:
        LilliputError: the environment cannot be made, reset or played.
    """
    return environment.resets_cleanly or _first_steps(environment) == _first_steps(environment)


def _first_steps(environment: EnvironmentSpec) -> list[bytes]:
    """The observations of a few drawn actions in a fresh environment, and the return so far at each."""
    episode = EpisodeUnderWay(environment, None)
    try:
        episode.environment.action_space.seed(0)
        episode.begin(0)
        seen = list[bytes]()
        while not episode.over and len(seen) < _STEPS:
            seen.append(np.asarray(episode.observation).tobytes() + np.float64(episode.total).tobytes())
            episode.step(episode.environment.action_space.sample())
        return [*seen, np.float64(episode.total).tobytes()]
    finally:
        episode.close()


def _same_bounds(policy: spaces.Box, offered: spaces.Box) -> bool:
    """Whether the bounds agree wherever both have one; float32 may have rounded either."""
    width = np.where(np.isfinite(offered.high - offered.low), offered.high - offered.low, 1.0)
    with np.errstate(invalid="ignore"):  # infinity less infinity is one of no bound
        ends = np.abs(np.stack([policy.low - offered.low, policy.high - offered.high]))
    return bool((np.where(np.isfinite(ends), ends, 0.0) <= _ROUNDING * width).all())


def _other_units(policy: spaces.Box, seen: spaces.Box) -> bool:
    """Whether some number has a range so much wider that it is another quantity, such as 0 to 255 for 0 to 1."""
    mine, theirs = (box.high - box.low for box in (policy, seen))
    known = np.isfinite(mine) & np.isfinite(theirs) & (np.minimum(mine, theirs) > 0)
    known &= np.maximum(np.abs(mine), np.abs(theirs)) < _OPEN
    ratio = (mine / np.where(known, theirs, 1.0))[known]
    return bool(((ratio > _OTHER) | (ratio < 1 / _OTHER)).any())


def _range(box: spaces.Box) -> str:
    """[-1, 1], or the lists of all bounds where they differ.

    >>> _range(spaces.Box((2,), np.array(-1.0), np.array([1.0, 2.0])))
    '[-1, (1, 2)]'
    """
    return f"[{_shown(box.low)}, {_shown(box.high)}]"


def _shown(bound: np.ndarray) -> str:
    first, *others = bound.reshape(-1).tolist()
    if all(other == first for other in others):
        return f"{first:g}"
    return "(" + ", ".join(f"{one:g}" for one in (first, *others[:31])) + (", ...)" if len(others) > 31 else ")")


def _n_choices(space: spaces.Space) -> int:
    """How many numbers choose an action of the space; 0 where none do."""
    return space.n if isinstance(space, spaces.Discrete) else 0


def _signature(space: spaces.Space) -> Any:
    """What two spaces must share; the concatenated vector of a Dict is as good as the Dict."""
    match space:
        case spaces.Box():
            return space.shape
        case spaces.Dict():
            return (space.size,)
        case spaces.Discrete() | spaces.MultiDiscrete():
            return space
