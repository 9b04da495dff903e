"""What compression does to policies that users have; figures on observations that calibration has not seen."""

import functools
from pathlib import Path

import numpy as np
import pytest
from tests.policies.compress.test_quantize import onnxruntime_dynamic

from lilliput.policies import layers, reference
from lilliput.policies.compress import Context, compress
from lilliput.policies.load import load_policy
from lilliput.policies.policy import Policy

pytestmark = pytest.mark.slow

CASES = {
    "sac": ("sac/HalfCheetah-v3_1/HalfCheetah-v3.zip", "HalfCheetah-v4"),
    "tqc": ("tqc/Walker2d-v3_1/Walker2d-v3.zip", "Walker2d-v4"),
    "ppo": ("ppo/LunarLander-v2_1/LunarLander-v2.zip", "LunarLander-v3"),
    "a2c": ("a2c/BipedalWalker-v3_1/BipedalWalker-v3.zip", "BipedalWalker-v3"),
}
N_JUDGED = 1024
STATIC = "scheme='static', input='per_dimension', granularity='per_channel'"


@functools.cache
def case(public_policies: Path, name: str) -> tuple[Policy, Context]:
    path, environment = CASES[name]
    policy = load_policy(public_policies / path)
    return policy, Context.from_environment(policy, environment, max_steps=200)  # ten episodes are 2,000 observations


def decision(policy: Policy, x: np.ndarray) -> np.ndarray:
    """Real numbers before a choice."""
    return reference.layer_inputs(policy, x)[-2 if isinstance(policy.layers[-1], layers.ArgmaxAction) else -1]


@functools.cache
def uncompressed(policy: Policy, context: Context, draw: int) -> np.ndarray:
    return decision(policy, context.observations(N_JUDGED, draw=draw))


def moved(policy: Policy, context: Context, recipe: str) -> float:
    """Root mean square of what the recipe changes in actions, in units of their spread: the median of three draws.

    In one of them a walker may fall, into states that no calibration has seen.
    """
    small = compress(policy, recipe, context)
    found = []
    for draw in (1, 2, 3):
        before, after = uncompressed(policy, context, draw), decision(small, context.observations(N_JUDGED, draw=draw))
        found.append(float(np.sqrt(np.square(before - after).mean()) / before.std()))
    return float(np.median(found))


@pytest.mark.parametrize("name", CASES)
def test_each_refinement_of_quantization_moves_actions_less(public_policies: Path, name: str) -> None:
    policy, context = case(public_policies, name)
    best = "method='gptq', bias_correction=True, calibration='mse'"
    plain = moved(policy, context, "quantize(6, scheme='static')")
    assert moved(policy, context, f"quantize(6, {STATIC}, {best})") < min(plain, 0.15)
    nearest = moved(policy, context, "quantize(4, scheme='weight_only', granularity='per_channel')")
    weights = moved(policy, context, f"quantize(4, scheme='weight_only', granularity='per_channel', {best})")
    assert weights < 0.5 * nearest


@pytest.mark.parametrize("name", ["sac", "a2c"])
def test_second_order_pruning_moves_actions_far_less_than_norms(public_policies: Path, name: str) -> None:
    policy, context = case(public_policies, name)
    assert moved(policy, context, "prune_units(0.3, 'optimal_brain_surgeon')") < 0.25 * moved(
        policy, context, "prune_units(0.3)"
    )
    sparse = moved(policy, context, "prune_weights(0.5, importance='sparsegpt')")
    assert sparse < 0.8 * moved(policy, context, "prune_weights(0.5)")


def test_dynamic_int8_of_a_real_policy_is_onnxruntimes(public_policies: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    policy, context = case(public_policies, "sac")
    network = tuple(layer for layer in policy.layers if not isinstance(layer, layers.SquashAction))
    x = context.observations(2048)[:500]
    theirs = onnxruntime_dynamic(network, x, tmp_path)
    small = compress(policy, "quantize()")
    ours = reference.layer_inputs(small, x)[len(network)]
    exact = reference.layer_inputs(policy, x)[len(network)]
    quantum = np.abs(theirs - exact).mean()
    assert quantum > 1e-2
    assert np.abs(ours - theirs).mean() < 0.05 * quantum
