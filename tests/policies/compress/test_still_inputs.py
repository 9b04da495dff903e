"""A commanded number that stood still in calibration: the policy still follows it when it moves, and that is said."""

import dataclasses

import numpy as np
import pytest

from lilliput.policies import layers, reference, spaces
from lilliput.policies.compress import Context, compress
from lilliput.policies.policy import Policy

COMMAND = 0.5


def follower(*, bounds: float = np.inf, normalizer: bool = False, dead: int = 0) -> Policy:
    """Drives a speed (input 0) to a command (input 2) with a little integral action (input 1)."""
    rng = np.random.default_rng(0)
    n = 3 + dead
    first = rng.normal(size=(8, n)).astype(np.float32) * np.float32(0.05)
    first[0, :3], first[1, :3] = (-4, 0.5, 4), (4, -0.5, -4)
    second = np.full((1, 8), 0.01, np.float32)
    second[0, :2] = 1, -1
    ends = np.full(n, bounds)
    mean, scale = np.full(n, 0.1, np.float32), np.full(n, 1.5, np.float32)
    before = (layers.Standardize(mean, scale, np.full((), 10, np.float32)),) if normalizer else ()
    hidden = layers.Dense(first, np.zeros(8, np.float32)), layers.Relu()
    last = layers.Dense(second, np.zeros(1, np.float32)), layers.SquashAction()
    one = np.full(1, 1.0)
    return Policy(spaces.Box((n,), -ends, ends), spaces.Box((1,), -one, one), (*before, *hidden, *last))


def driven(policy: Policy, commands: tuple[float, ...], dead: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """What was observed (200, commands, inputs), and the mean distance from each command over the second half."""
    command = np.array(commands)
    speed, integral, seen, off = np.zeros(len(command)), np.zeros(len(command)), [], []
    for _ in range(200):
        still = np.zeros((len(command), dead))
        seen.append(np.column_stack((speed, integral, command, still)).astype(np.float32))
        speed = speed + 0.2 * reference.act(policy, seen[-1])[:, 0] - 0.02 * speed
        integral = 0.9 * integral + 0.1 * (command - speed)
        off.append(np.abs(speed - command))
    return np.array(seen), np.mean(off[100:], axis=0)


@pytest.mark.parametrize("method", ["nearest", "gptq"])
@pytest.mark.parametrize("each", ["per_dimension", "every_dimension"])
@pytest.mark.parametrize("known", [{}, {"bounds": 3.0}, {"normalizer": True}], ids=["nothing", "bounds", "normalizer"])
def test_another_command_than_that_of_the_calibration_is_followed(known: dict, each: str, method: str) -> None:
    policy = follower(**known)
    commands = (COMMAND, 0.0, -0.5, 1.0)
    seen, off = driven(policy, commands)
    said: list[str] = []
    context = dataclasses.replace(Context.from_observations(policy, seen[:, 0]), say=said.append)
    small = compress(policy, f'quantize(scheme="static", input="{each}", method="{method}")', context)
    assert (driven(small, commands)[1] < off + 0.08).all()
    assert len(said) == 1
    assert "input 2 stood still in calibration" in said[0]
    assert ("guessed" in said[0]) == (not known)


def test_at_the_number_where_they_stood_nothing_changes_and_dead_inputs_cost_the_others_nothing() -> None:
    plain, with_dead = follower(), follower(dead=40)
    errors = []
    for policy, dead in ((plain, 0), (with_dead, 40)):
        seen = driven(policy, (0.0,), dead)[0][:, 0]
        seen[:, 1] = np.linspace(-1, 1, len(seen))  # so that two of three move
        seen[:, 0] = np.sin(np.arange(len(seen)))
        small = compress(
            policy, 'quantize(scheme="static", input="per_dimension")', Context.from_observations(policy, seen)
        )
        errors.append(float(np.abs(reference.act(small, seen) - reference.act(policy, seen)).mean()))
    assert errors[1] < 2 * errors[0] + 1e-3


def test_nothing_is_said_where_every_input_moves() -> None:
    policy = follower()
    said: list[str] = []
    x = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    context = dataclasses.replace(Context.from_observations(policy, x), say=said.append)
    compress(policy, 'quantize(scheme="static", input="per_dimension")', context)
    assert not said


@pytest.mark.parametrize("known", [{"bounds": 3.0}, {"normalizer": True}], ids=["bounds", "normalizer"])
def test_inputs_that_moved_over_little_of_their_range_are_named(known: dict) -> None:
    """What calibration never saw saturates: a walker's fall."""
    policy = follower(**known)
    said: list[str] = []
    x = np.random.default_rng(0).uniform(-2, 2, (200, 3)).astype(np.float32)
    x[:, 1] *= 0.1
    for observations, named in ((x, 1), (x * [1, 10, 1], 0)):
        said.clear()
        context = Context.from_observations(policy, observations.astype(np.float32))
        context = dataclasses.replace(context, say=said.append)
        compress(policy, 'quantize(scheme="static", input="per_dimension")', context)
        assert len(said) == named
        assert all("input 1 moved in calibration over less than half of what" in one for one in said)
