from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.policies.compress.strategies import mlp, recipes
from tests.strategies import plausible_observations, policies
from threadpoolctl import threadpool_info, threadpool_limits

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference
from lilliput.policies.compress import Context, Step, compress, parse
from lilliput.policies.policy import Policy, replace_layers


def test_the_empty_recipe_is_the_policy_itself() -> None:
    policy = mlp((3, 4, 2), np.random.default_rng(0))
    same = compress(policy, "")
    assert same.digest == policy.digest
    assert same.provenance.recipe == ""


def test_the_result_carries_the_canonical_text_after_what_was_done_before() -> None:
    policy = mlp((3, 4, 2), np.random.default_rng(0))
    once = compress(policy, "prune_units( .5 )")
    assert once.provenance.recipe == "prune_units(ratio=0.5)"
    twice = compress(once, parse("half()|quantize(4)"))
    assert twice.provenance.recipe == "prune_units(ratio=0.5) | half() | quantize(weight_bits=4)"
    assert compress(policy, twice.provenance.recipe).digest == twice.digest


def threads() -> set[int]:
    """How many each library that multiplies matrices computes with."""
    return {int(one["num_threads"]) for one in threadpool_info() if one["user_api"] == "blas"}


@final
@dataclass(frozen=True)
class Looks(Step):
    """Leaves the policy as it is, and says with how many threads it would multiply."""

    NAME: ClassVar[str] = "looks"
    VERSION: ClassVar[int] = 1

    def apply(self, policy: Policy, context: Context) -> Policy:
        context.tell(f"threads: {threads()}")
        return policy


def test_steps_multiply_with_one_thread_and_leave_as_many_as_there_were() -> None:
    policy = mlp((3, 4, 2), np.random.default_rng(0))
    with threadpool_limits(limits=2, user_api="blas"):
        if threads() != {2}:
            pytest.skip("numpy's BLAS takes no two threads here")
        said = compress(policy, (Looks(),)).provenance.guesses
        assert said[-1].endswith("threads: {1}")
        assert threads() == {2}


def test_a_result_that_is_not_finite_is_refused() -> None:
    policy = mlp((3, 4, 2), np.random.default_rng(1), activation=layers.Relu())
    huge = tuple(
        layers.Dense(layer.weight * np.float32(1e37), layer.bias) if isinstance(layer, layers.Dense) else layer
        for layer in policy.layers
    )
    with pytest.raises(LilliputError, match=r"prune_units: the compressed policy gives actions that are not finite"):
        compress(replace_layers(policy, huge), "prune_units(0.25)")


@given(st.data())
def test_any_recipe_on_any_policy_ends_in_a_policy_or_a_clear_line(data: st.DataObject) -> None:
    policy: Policy = data.draw(policies())
    recipe = data.draw(recipes())
    x = plausible_observations(policy.observation_space, 48, np.random.default_rng(0))
    try:
        small = compress(policy, recipe, Context.from_observations(policy, x))
    except LilliputError as error:
        message = str(error)
        assert "\n" not in message
        assert len(message) < 300
        return
    actions = reference.act(small, x)
    assert actions.shape == reference.act(policy, x).shape
    assert np.isfinite(actions).all()
    assert small.model_bytes <= policy.model_bytes * 1.5 + 200
    np.testing.assert_array_equal(reference.act(small, x[3:4])[0], actions[3])
