"""Held against `reference` and the teacher's own choices."""

import numpy as np
import pytest
from tests.policies.recurrent import dense, gru

from lilliput.errors import LilliputError, NotApplicable
from lilliput.policies import layers, reference, spaces
from lilliput.policies.compress import Context, compress, parse
from lilliput.policies.compress.finetune import start_of
from lilliput.policies.policy import Policy, replace_layers


def normalized(rng: np.random.Generator) -> Policy:
    """A policy of CartPole's shape with a normalizer and two hidden layers."""

    def dense(rows: int, columns: int) -> layers.Dense:
        weight = rng.standard_normal((rows, columns)) / np.sqrt(columns)
        return layers.Dense(weight.astype(np.float32), rng.standard_normal(rows).astype(np.float32))

    mean, scale = rng.standard_normal(4).astype(np.float32), rng.uniform(0.5, 2, 4).astype(np.float32)
    return Policy(
        spaces.Box((4,), np.full(4, -np.inf), np.full(4, np.inf)),
        spaces.Discrete(2),
        (
            layers.Standardize(mean, scale, np.array(np.inf, np.float32)),
            dense(12, 4), layers.Tanh(), dense(9, 12), layers.Tanh(), dense(2, 9), layers.ArgmaxAction((2,)),
        ),
    )  # fmt: skip


@pytest.fixture(scope="module")
def taught() -> tuple[Policy, Context]:
    """A teacher and its context: what is collected in it is the same each time."""
    teacher = normalized(np.random.default_rng(1))
    return teacher, Context.from_environment(teacher, "CartPole-v1", seed=0)


def values(policy: Policy, x: np.ndarray) -> np.ndarray:
    for layer in policy.layers[:-1]:
        x = reference.apply(layer, x)
    return x


@pytest.mark.parametrize(
    "recipe", ["", 'quantize(scheme="static")', 'quantize(scheme="static", input="per_dimension")']
)
def test_the_start_is_the_policy_without_its_rounding(recipe: str) -> None:
    policy = normalized(np.random.default_rng(0))
    x = np.random.default_rng(1).standard_normal((400, 4)).astype(np.float32)
    quantized = compress(policy, recipe, Context.from_observations(policy, x)) if recipe else policy
    start, activation = start_of(quantized)
    assert activation == "tanh"
    y = x.astype(np.float64)
    for index, (weight, bias) in enumerate(zip(start.weights, start.biases, strict=True)):
        y = np.tanh(y) if index else y
        y = y @ weight.T + bias
    expected = values(quantized, x)
    assert np.abs(y - expected).mean() < (0.03 * expected.std() if recipe else 1e-5)


def test_finetuning_brings_the_teacher_s_choices_back(taught: tuple[Policy, Context]) -> None:
    teacher, context = taught
    rng = np.random.default_rng(0)
    hurt = tuple(
        layers.Dense((layer.weight * rng.uniform(0.3, 1.7, layer.weight.shape)).astype(np.float32), layer.bias)
        if isinstance(layer, layers.Dense)
        else layer
        for layer in teacher.layers
    )
    x = context.observations(1500, "noisy_policy")
    expected = reference.act(teacher, x)
    rough = replace_layers(teacher, hurt)
    tuned = compress(rough, "finetune(steps=400, restarts=1, weight_bits=8)", context)
    assert np.mean(reference.act(rough, x) == expected) < 0.3
    assert np.mean(reference.act(tuned, x) == expected) > 0.9


def test_a_real_policy_stays_real_and_bits_make_it_quantized(taught: tuple[Policy, Context]) -> None:
    teacher, context = taught
    assert compress(teacher, "finetune(steps=12, restarts=1)", context).weight_bits == (32, 32, 32)
    assert compress(teacher, "finetune(steps=12, restarts=1, weight_bits=5)", context).weight_bits == (5, 5, 5)


@pytest.mark.parametrize("bits", ["", ", weight_bits=8"])
def test_pruned_weights_stay_zero_and_the_others_learn_their_part(bits: str, taught: tuple[Policy, Context]) -> None:
    teacher, context = taught
    pruned = compress(teacher, "prune_weights(sparsity=0.6)", context)
    tuned = compress(pruned, f"finetune(steps=600, restarts=2{bits})", context)
    again = compress(tuned, "finetune(steps=12, restarts=2)", context)
    x = context.observations(1500, "noisy_policy")
    expected = reference.act(teacher, x)
    agreement = [np.mean(reference.act(policy, x) == expected) for policy in (pruned, tuned)]
    assert agreement[1] > max(0.9, agreement[0])
    for policy in (tuned, again):
        assert policy.n_parameters == teacher.n_parameters
        for before, after in zip(weights(pruned), weights(policy), strict=True):
            assert (after[before == 0] == 0).all()
            assert bits or (after[before != 0] != 0).all()


@pytest.mark.parametrize("bits", ["", ", weight_bits=8"])
def test_the_sparsity_rises_while_the_policy_learns(bits: str, taught: tuple[Policy, Context]) -> None:
    teacher, context = taught
    sparse = compress(teacher, f"finetune(steps=450, restarts=1, sparsity=0.7{bits})", context)
    cut = compress(
        teacher, f'prune_weights(sparsity=0.7, scope="global") | finetune(steps=450, restarts=1{bits})', context
    )
    size = sum(weight.size for weight in weights(teacher))
    n_zero = [sum(int(np.count_nonzero(weight == 0)) for weight in weights(policy)) for policy in (sparse, cut)]
    assert min(n_zero) >= int(0.7 * size)
    assert bits or n_zero == [int(0.7 * size)] * 2
    x = context.observations(1500, "noisy_policy")
    assert np.mean(reference.act(sparse, x) == reference.act(teacher, x)) > 0.9


def test_codes_are_not_pruned() -> None:
    policy = normalized(np.random.default_rng(2))
    context = Context.from_environment(policy, "CartPole-v1", seed=0)
    with pytest.raises(LilliputError, match="finetune: sparsity needs real weights"):
        compress(policy, "quantize() | finetune(steps=12, sparsity=0.5)", context)
    with pytest.raises(LilliputError, match="finetune: sparsity is 1"):
        parse("finetune(sparsity=1.0)")


def weights(policy: Policy) -> list[np.ndarray]:
    """Weights or codes of the linear layers."""
    return [
        layer.weight if isinstance(layer, layers.Dense) else layer.weight.values
        for layer in policy.layers
        if isinstance(layer, layers.Dense | layers.QuantizedDense)
    ]


def test_a_code_of_zero_is_no_pruned_weight() -> None:
    policy = normalized(np.random.default_rng(2))
    quantized = compress(
        policy, "quantize(weight_bits=3)", Context.from_observations(policy, np.zeros((1, 4), np.float32))
    )
    assert any((codes == 0).any() for codes in weights(quantized))
    assert all(kept.all() for kept in start_of(quantized)[0].kept)


def behind_norms(rng: np.random.Generator) -> Policy:
    """The same with a layer norm in front of each activation."""
    policy = normalized(rng)

    def norm(n: int) -> layers.LayerNorm:
        return layers.LayerNorm(
            rng.uniform(0.5, 2, n).astype(np.float32), rng.standard_normal(n).astype(np.float32), 1e-12
        )

    first, second = policy.layers[:2], policy.layers[2:4]
    return replace_layers(policy, (*first, norm(12), *second, norm(9), *policy.layers[4:]))


@pytest.fixture(scope="module")
def taught_with_norms() -> tuple[Policy, Context]:
    teacher = behind_norms(np.random.default_rng(3))
    return teacher, Context.from_environment(teacher, "CartPole-v1", seed=0)


@pytest.mark.parametrize("bits", ["", ", weight_bits=8"])
def test_a_policy_with_layer_norms_keeps_them_and_does_what_the_teacher_does(
    bits: str, taught_with_norms: tuple[Policy, Context]
) -> None:
    teacher, context = taught_with_norms
    tuned = compress(teacher, f"finetune(steps=120, restarts=1{bits})", context)
    kinds = [type(layer) for layer in tuned.layers]
    assert kinds.count(layers.LayerNorm) == 2
    norms = [layer for layer in tuned.layers if isinstance(layer, layers.LayerNorm)]
    assert all(norm.weight.dtype == (np.float16 if bits else np.float32) for norm in norms)
    x = context.observations(1500, "noisy_policy")
    assert np.mean(reference.act(tuned, x) == reference.act(teacher, x)) > 0.95
    again = compress(tuned, "finetune(steps=12, restarts=1)", context)
    assert [type(layer) for layer in again.layers] == kinds


def test_layers_that_it_is_not_made_for_are_a_result_of_a_study_not_a_failure() -> None:
    policy = normalized(np.random.default_rng(0))
    norm = layers.LayerNorm(np.ones(12, np.float32), np.zeros(12, np.float32))
    with pytest.raises(NotApplicable, match="finetune: layer 3 is LayerNorm behind Tanh; supported: dense layers"):
        start_of(replace_layers(policy, (*policy.layers[:3], norm, *policy.layers[3:])))
    with pytest.raises(NotApplicable, match="finetune: layer 2 is Dense behind Dense; supported"):
        start_of(replace_layers(policy, (*policy.layers[:2], *policy.layers[3:])))
    with pytest.raises(NotApplicable, match="finetune: the network ends in Tanh; supported"):
        start_of(replace_layers(policy, (*policy.layers[:6], layers.Tanh(), policy.layers[6])))


def beta(remembers: bool) -> tuple[Policy, Context]:
    """A policy of Pendulum's shape as rsl_rl's of a Beta distribution: its network gives two numbers an action."""
    rng = np.random.default_rng(2)
    first = (gru(rng, 3, 6),) if remembers else (dense(rng, 6, 3), layers.Tanh())
    moved = layers.RescaleAction(np.array([4], np.float32), np.array([-2], np.float32))
    seen, box = (spaces.Box((len(high),), -np.array(high), np.array(high)) for high in ([1.0, 1.0, 8.0], [2.0]))
    policy = Policy(seen, box, (*first, dense(rng, 2, 6), layers.BetaAction(), moved))
    return policy, Context.from_environment(policy, "Pendulum-v1", seed=0)


@pytest.mark.parametrize("remembers", [False, True])
@pytest.mark.parametrize("recipe", ["finetune(steps=100)", "quantize() | finetune(steps=100)"])
def test_a_beta_distribution_is_refused_with_what_learns_it(recipe: str, remembers: bool) -> None:
    policy, context = beta(remembers)
    ways = "distill$" if remembers else "distill, or objective='return'$"
    with pytest.raises(NotApplicable, match=rf"two numbers an action, .*: use {ways}"):
        compress(policy, recipe, context)


@pytest.mark.slow
def test_a_beta_distribution_is_distilled_and_evolved() -> None:
    policy, context = beta(remembers=False)
    evolved = compress(policy, "finetune(objective='return', episodes=60)", context)
    assert [type(layer) for layer in evolved.layers] == [type(layer) for layer in policy.layers]
    student = compress(policy, "distill(hidden=(8,), steps=1600, restarts=1)", context)
    x = context.observations(300, "noisy_policy")
    theirs, ours = reference.act(policy, x), reference.act(student, x)
    assert np.abs(ours - theirs).mean() < 0.4 * theirs.std()


def test_mixed_activations_are_refused() -> None:
    policy = normalized(np.random.default_rng(0))
    mixed = replace_layers(policy, (*policy.layers[:2], layers.Relu(), *policy.layers[3:]))
    with pytest.raises(NotApplicable, match="the activations are relu, tanh; they must be of one kind"):
        start_of(mixed)


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(LilliputError, match="finetune: weight_bits is 9"):
        parse("finetune(weight_bits=9)")


def test_a_clip_in_front_of_the_head_is_learned_with_it() -> None:
    policy = normalized(np.random.default_rng(0))
    clip = layers.HardTanh(-2.0, 2.0)
    box = spaces.Box((2,), np.full(2, -1.0), np.full(2, 1.0))
    clipped = Policy(policy.observation_space, box, (*policy.layers[:-1], clip, layers.SquashAction()))
    found, _ = start_of(clipped)
    expected, _ = start_of(policy)
    for ours, theirs in zip(found.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
