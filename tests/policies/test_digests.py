"""The example policies, as loaded and compressed, are to the bit what earlier releases made of them.

A change of meaning has to be meant: then a step's VERSION is raised, and the digest here is written anew.
"""

from functools import cache
from pathlib import Path

import pytest

from lilliput.policies.compress import compress
from lilliput.policies.load import load_policy
from lilliput.policies.policy import Policy

DIGESTS = (
    ("ppo-Hopper-v5", "", "b89e06e64e314d11"),
    ("ppo-Hopper-v5", "half()", "43cb83a8fe5deca1"),
    ("ppo-Hopper-v5", "quantize()", "475d300a61159da1"),
    ("ppo-Hopper-v5", 'quantize(weight_bits=4, granularity="per_channel")', "731f52735b0747f5"),
    ("ppo-Hopper-v5", 'prune_units(ratio=0.2, importance="l2")', "c33842a4134fcd16"),
    ("ppo-Hopper-v5", "prune_weights(sparsity=0.5)", "e5a59ca45d4659a8"),
    ("ppo-Hopper-v5", "fold_inputs()", "5ec9d3be68de8f99"),
    ("ppo-Hopper-v5", 'prune_units(ratio=0.2, importance="l2") | quantize(weight_bits=8)', "7e5cb2359d7ed6b6"),
    ("ppo-LunarLander-v3", "", "dab9c07a4ed4767c"),
    ("ppo-LunarLander-v3", "half()", "5ba52aef20acaa79"),
    ("ppo-LunarLander-v3", "quantize()", "5963ef905b816139"),
    ("ppo-LunarLander-v3", 'quantize(weight_bits=4, granularity="per_channel")', "326c9e3067b2adb1"),
    ("ppo-LunarLander-v3", 'prune_units(ratio=0.2, importance="l2")', "dea62354acd2772a"),
    ("ppo-LunarLander-v3", "prune_weights(sparsity=0.5)", "3569c022993d69f5"),
    ("ppo-LunarLander-v3", 'prune_units(ratio=0.2, importance="l2") | quantize(weight_bits=8)', "ed3944924fba6a0b"),
    ("sac-Pendulum-v1", "", "a944300a7ad11968"),
    ("sac-Pendulum-v1", "half()", "0af916b0197a906e"),
    ("sac-Pendulum-v1", "quantize()", "21b661e16bfd5ce0"),
    ("sac-Pendulum-v1", 'quantize(weight_bits=4, granularity="per_channel")', "43ecba270e6499bc"),
    ("sac-Pendulum-v1", 'prune_units(ratio=0.2, importance="l2")', "83260b92a18ecd79"),
    ("sac-Pendulum-v1", "prune_weights(sparsity=0.5)", "a8edd571775d7856"),
    ("sac-Pendulum-v1", "equalize()", "dab4937df70bdd31"),
    ("sac-Pendulum-v1", 'prune_units(ratio=0.2, importance="l2") | quantize(weight_bits=8)', "d479b93ed88b9bdf"),
)
"""Of steps that need no episodes, by a program of record format 1."""


@cache
def loaded(folder: Path) -> Policy:
    return load_policy(folder)


@pytest.mark.parametrize(("name", "recipe", "digest"), DIGESTS)
def test_a_recipe_gives_what_it_gave(name: str, recipe: str, digest: str, example_policies: Path) -> None:
    assert compress(loaded(example_policies / name), recipe).digest.startswith(digest)
