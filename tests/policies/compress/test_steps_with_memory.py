"""GPTQ, pruned weights and a folded normalizer of policies with a memory: what they promise, over whole episodes."""

from pathlib import Path

import numpy as np
import pytest
from tests.policies.recurrent import every_memory, walk

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference
from lilliput.policies.compress import Context, compress
from lilliput.policies.compress.quantize_memory import inputs, parts
from lilliput.policies.export import export, open_artifact
from lilliput.policies.policy import Policy, replace_layers

POLICIES = every_memory()


def off(small: Policy, policy: Policy, x: np.ndarray) -> float:
    """The root mean square of what the actions of an episode are off."""
    return float(np.sqrt(np.square(reference.act_episode(small, x) - reference.act_episode(policy, x)).mean()))


@pytest.mark.parametrize("name", ["lstm begins elsewhere", "gru", pytest.param("all of them", marks=pytest.mark.slow)])
@pytest.mark.parametrize("scheme", ["weight_only", "static"])
def test_gptq_is_nearer_than_rounding_to_the_nearest(name: str, scheme: str) -> None:
    policy = POLICIES[name]
    x = np.concatenate([walk(policy, 100, seed) for seed in range(3)])
    context = Context.from_observations(policy, x)
    text = f"quantize(scheme='{scheme}', weight_bits=3, granularity='per_channel'"
    nearest, better = compress(policy, f"{text})", context), compress(policy, f"{text}, method='gptq')", context)
    assert off(better, policy, x) < off(nearest, policy, x)
    assert better.model_bytes <= nearest.model_bytes + 64


def test_corrected_biases_give_each_part_its_mean_back() -> None:
    policy = POLICIES["gru"]
    x = walk(policy, 300)
    small = compress(policy, "quantize(weight_bits=3, bias_correction=True)", Context.from_observations(policy, x))
    before, after = inputs(policy, [x]), inputs(small, [x])
    (first, real), (_, coded) = next(iter(parts(policy).items())), next(iter(parts(small).items()))
    assert isinstance(real, layers.Dense)
    wanted, found = reference.apply(real, before[first]), reference.apply(coded, after[first])
    np.testing.assert_allclose(found.mean(axis=0), wanted.mean(axis=0), atol=1e-4)
    assert np.abs(found - wanted).max() > 0.01


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("scope", ["layer", "output", "global"])
@pytest.mark.parametrize("importance", ["magnitude", "wanda"])
def test_the_least_weights_of_every_part_are_zero(name: str, scope: str, importance: str) -> None:
    policy = POLICIES[name]
    x = walk(policy, 100)
    recipe = f"prune_weights(sparsity=0.4, scope='{scope}', importance='{importance}')"
    small = compress(policy, recipe, Context.from_observations(policy, x))
    seen, scores, kept = inputs(policy, [x]), [], []
    for (place, before), after in zip(parts(policy).items(), parts(small).values(), strict=True):
        assert isinstance(before, layers.Dense)
        assert isinstance(after, layers.Dense)
        stays = after.weight != 0
        np.testing.assert_array_equal(after.weight[stays], before.weight[stays])
        size = np.abs(before.weight.astype(np.float64))
        size = size * np.sqrt(np.square(seen[place].astype(np.float64)).mean(axis=0)) if importance == "wanda" else size
        rows = {"layer": [(size, stays)], "global": [], "output": list(zip(size, stays, strict=True))}[scope]
        for row, stay in rows:
            assert (~stay).sum() == int(0.4 * stay.size + 1e-9)
            assert row[~stay].max(initial=0) <= row[stay].min(initial=np.inf)
        scores.append(size.reshape(-1))
        kept.append(stays.reshape(-1))
    every, stay = np.concatenate(scores), np.concatenate(kept)
    if scope == "global":
        assert every[~stay].max() <= every[stay].min()
        assert (~stay).sum() == int(0.4 * stay.size + 1e-9)


@pytest.mark.parametrize("name", ["lstm begins elsewhere", "gru", "gru resets first", "previous actions"])
def test_what_is_refitted_is_nearer_than_what_is_cut(name: str) -> None:
    """Of parts with zeros, refitted by SparseGPT over episodes, against the same sparsity by magnitude."""
    policy = POLICIES[name]
    x = np.concatenate([walk(policy, 100, seed) for seed in range(3)])
    context = Context.from_observations(policy, x)
    cut = compress(policy, "prune_weights(sparsity=0.5)", context)
    refitted = compress(policy, "prune_weights(sparsity=0.5, importance='sparsegpt')", context)
    assert off(refitted, policy, x) < off(cut, policy, x)
    for part in parts(refitted).values():
        assert isinstance(part, layers.Dense)
        assert (part.weight == 0).sum() >= int(0.5 * part.weight.size)


def normalized(policy: Policy, clip: float) -> Policy:
    """The policy behind statistics that matter."""
    n = 5
    statistics = layers.Standardize(
        np.linspace(-1, 1, n, dtype=np.float32), np.linspace(0.5, 2, n, dtype=np.float32), np.asarray(clip, np.float32)
    )
    assert isinstance(policy.layers[0], layers.Standardize)
    return replace_layers(policy, (statistics, *policy.layers[1:]))


@pytest.mark.parametrize("name", ["lstm begins elsewhere", "gru resets first"])
@pytest.mark.parametrize("format_", ["onnx", "c"])
def test_a_normalizer_folded_into_gates_changes_nothing(name: str, format_: str, tmp_path: Path) -> None:
    policy = normalized(POLICIES[name], np.inf)
    x = walk(policy, 100)
    context = Context.from_observations(policy, x)
    real = compress(policy, "fold_inputs()", context)
    assert not any(isinstance(layer, layers.Standardize) for layer in real.layers)
    np.testing.assert_allclose(reference.act_episode(real, x), reference.act_episode(policy, x), atol=1e-5)
    static = "quantize(scheme='static', input='per_dimension')"
    codes, folded = compress(policy, static, context), compress(policy, f"{static} | fold_inputs()", context)
    # A code beside a tie may fall to the other side of it, and the memory keeps it for a while.
    assert np.quantile(np.abs(reference.act_episode(folded, x) - reference.act_episode(codes, x)), 0.9) < 0.01
    export(folded, format_, tmp_path / "a", observations=x)
    act = open_artifact(tmp_path / "a").begin()
    found = np.stack([act(row) for row in x])
    assert np.quantile(np.abs(found - reference.act_episode(folded, x)).max(axis=1), 0.9) < 1e-5


def test_a_clip_that_would_be_lost_is_refused() -> None:
    policy = normalized(POLICIES["gru"], 0.5)
    x = walk(policy, 200)
    with pytest.raises(LilliputError, match=r"the normalizer clips an input in \d+ % of the observations"):
        compress(policy, "fold_inputs()", Context.from_observations(policy, x))
    history = (
        layers.History(2),
        layers.Standardize(np.zeros(10, "f4"), np.ones(10, "f4"), np.asarray(0.5, np.float32)),
    )
    behind = replace_layers(policy, (*history, *POLICIES["all of them"].layers[2:]))
    with pytest.raises(LilliputError, match="clips what stands behind a memory"):
        compress(behind, "fold_inputs()", Context.from_observations(policy, x))
