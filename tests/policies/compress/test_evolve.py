"""Held against functions whose maximum is known, and against `reference`."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from tests.disjoint import check_disjoint

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference, spaces
from lilliput.policies.affine import QuantizedTensor
from lilliput.policies.compress import Context, compress, evolve
from lilliput.policies.compress.evolve import Genome, Strategy
from lilliput.policies.play import BatchAct, Lockstep, SeedPlan, episode_returns
from lilliput.policies.policy import Policy, replace_layers
from lilliput.shrink.trial import seeds as trial_seeds


def quantized(rng: np.random.Generator, input_range: layers.InputRange, bias: float = 1.0) -> Policy:
    def tensor(rows: int, columns: int) -> QuantizedTensor:
        codes = rng.integers(-8, 8, (rows, columns)).astype(np.int8)
        return QuantizedTensor(codes, np.array(0.01, np.float16), 4)

    hidden = layers.StaticRange(np.array(40, np.float16), np.array(12, np.int32))
    return Policy(
        spaces.Box((4,), np.full(4, -np.inf), np.full(4, np.inf)),
        spaces.Discrete(2),
        (
            layers.QuantizedDense(tensor(5, 4), (bias * rng.standard_normal(5)).astype(np.float16), input_range),
            layers.Silu(),
            layers.QuantizedDense(tensor(2, 5), (bias * rng.standard_normal(2)).astype(np.float16), hidden),
            layers.ArgmaxAction((2,)),
        ),
    )


RANGES = [
    None,
    layers.StaticRange(np.array(30, np.float16), np.array(128, np.int32)),
    layers.StaticRange(np.array([20, 30, 40, 50], np.float16), np.array([100, 120, 130, 90], np.int32)),
]


@pytest.mark.parametrize("input_range", RANGES)
def test_members_act_as_the_policies_that_they_are(input_range: layers.InputRange) -> None:
    rng = np.random.default_rng(0)
    genome = Genome(quantized(rng, input_range))
    members = 0.3 * rng.standard_normal((3, genome.n))
    x = rng.standard_normal((3, 400, 4)).astype(np.float32)
    found = genome.act(members, 400)(x.reshape(-1, 4)).reshape(3, 400)
    for member, seen, actions in zip(members, x, found, strict=True):
        assert np.mean(reference.act(genome.policy(member), seen) == actions) > 0.995


def test_members_behind_layer_norms_act_as_the_policies_that_they_are() -> None:
    rng = np.random.default_rng(0)
    policy = quantized(rng, None)
    norm = layers.LayerNorm(rng.uniform(0.5, 2, 5).astype(np.float16), rng.standard_normal(5).astype(np.float16))
    genome = Genome(replace_layers(policy, (policy.layers[0], norm, *policy.layers[1:])))
    members = 0.3 * rng.standard_normal((3, genome.n))
    x = rng.standard_normal((3, 400, 4)).astype(np.float32)
    found = genome.act(members, 400)(x.reshape(-1, 4)).reshape(3, 400)
    for member, seen, actions in zip(members, x, found, strict=True):
        moved = genome.policy(member)
        assert moved.layers[1] is norm
        assert np.mean(reference.act(moved, seen) == actions) > 0.995


@pytest.mark.parametrize("input_range", RANGES)
def test_no_step_changes_nothing(input_range: layers.InputRange) -> None:
    policy = quantized(np.random.default_rng(0), input_range)
    genome = Genome(policy)
    assert genome.policy(np.zeros(genome.n)).digest == policy.digest


@pytest.mark.parametrize("n", [5, 300])
def test_the_strategy_finds_the_maximum_of_a_stretched_parabola(n: int) -> None:
    goal = np.linspace(-1, 1, n)
    stretch = np.logspace(0, 1.5, n)

    def value(x: np.ndarray) -> np.ndarray:
        return -(((x - goal) * stretch) ** 2).sum(axis=1)

    strategy = Strategy(n, 20, 0.3, np.random.default_rng(0))
    start = value(strategy.mean[None])[0]
    for _ in itertools.repeat(None, 150 if n == 5 else 1500):
        strategy.tell(value(strategy.ask()))
    assert value(strategy.mean[None])[0] > start * 1e-3


def test_the_strategy_learns_a_rotated_valley() -> None:
    def value(x: np.ndarray) -> np.ndarray:
        return -(100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(axis=1)

    strategy = Strategy(6, 16, 0.3, np.random.default_rng(1))
    for _ in range(700):
        strategy.tell(value(strategy.ask()))
    np.testing.assert_allclose(strategy.mean, np.ones(6), atol=1e-3)


@pytest.mark.slow
def test_evolution_raises_the_return() -> None:
    policy = quantized(np.random.default_rng(1), None, bias=0.01)
    before = episode_returns(policy, "CartPole-v1", range(50)).mean()
    context = Context.from_environment(policy, "CartPole-v1", seed=0)
    evolved = compress(policy, "evolve(episodes=300, each=2, sigma=0.3)", context)
    after = episode_returns(evolved, "CartPole-v1", range(50)).mean()
    assert before < 20
    assert after > 80


def test_images_are_refused() -> None:
    rng = np.random.default_rng(0)
    box = spaces.Box((1, 4, 4), np.zeros((1, 4, 4)), np.ones((1, 4, 4)))
    conv = layers.Conv2d(rng.standard_normal((2, 1, 4, 4)).astype(np.float32), None, (1, 1))
    policy = Policy(box, spaces.Discrete(2), (conv, layers.Flatten(), layers.ArgmaxAction((2,))))
    with pytest.raises(LilliputError, match="Conv2d is not supported"):
        compress(policy, "evolve()", Context.from_environment(policy, "CartPole-v1"))


def test_the_return_is_an_objective_of_finetune() -> None:
    policy = quantized(np.random.default_rng(1), None, bias=0.01)
    context = Context.from_environment(policy, "CartPole-v1", seed=0)
    by_return = compress(policy, 'finetune(objective="return", episodes=60)', context)
    assert by_return.digest == compress(policy, "evolve(episodes=60)", context).digest
    assert by_return.weight_bits == policy.weight_bits
    with pytest.raises(LilliputError, match="weight_bits is nothing that objective 'return' uses"):
        compress(policy, 'finetune(objective="return", weight_bits=8)', context)
    with pytest.raises(LilliputError, match="episodes is nothing that objective 'imitation' uses"):
        compress(policy, "finetune(episodes=8)", context)


def test_what_was_only_lucky_leaves_the_policy_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = quantized(np.random.default_rng(1), None)
    said: list[str] = []
    context = Context.from_environment(policy, "CartPole-v1", seed=0, say=said.append)
    monkeypatch.setattr(evolve, "_search", lambda step, genome, *_: np.full(genome.n, 1e-9))  # the same codes
    assert compress(policy, "evolve(episodes=60)", context).digest == policy.digest
    assert said == ["evolution gained nothing that more episodes confirm: the policy stays as it was"]


def test_the_episodes_of_a_search_are_not_those_of_a_judgement(monkeypatch: pytest.MonkeyPatch) -> None:
    played: dict[str, set[int]] = {}
    real = Lockstep.returns

    def returns(self: Lockstep, act: BatchAct, seeds: Sequence[int]) -> np.ndarray:
        played.setdefault("all", set()).update(seeds)
        return real(self, act, seeds)

    monkeypatch.setattr(Lockstep, "returns", returns)
    policy = quantized(np.random.default_rng(1), None, bias=0.01)
    compress(policy, "evolve(episodes=60)", Context.from_environment(policy, "CartPole-v1", seed=0))
    plan = SeedPlan(0)
    assert len(played["all"]) > 24
    check_disjoint(
        played=played["all"], trials=set(trial_seeds(0, 128)), confirmation=set(plan.episodes("confirmation", 3_000)),
        calibration=set(plan.episodes("calibration", 3_000)),
    )  # fmt: skip
