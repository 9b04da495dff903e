import numpy as np
import pytest
from hypothesis import given
from tests.policies.compress.strategies import image_policy, mlp, weight_prunings
from tests.strategies import policies

from lilliput.errors import LilliputError, NotApplicable
from lilliput.policies import layers
from lilliput.policies.compress import compress
from lilliput.policies.policy import Policy


def weights(policy: Policy) -> list[np.ndarray]:
    return [layer.weight for layer in policy.layers if isinstance(layer, layers.Dense | layers.Conv2d)]


def test_as_torchs_own_pruning() -> None:
    torch = pytest.importorskip("torch")
    from torch.nn.utils import prune

    policy = mlp((8, 10, 10, 4), np.random.default_rng(0))
    modules = []
    for weight in weights(policy):
        module = torch.nn.Linear(*weight.shape[::-1])
        module.weight.data = torch.from_numpy(weight.copy())
        modules.append(module)
    for module in modules:
        prune.l1_unstructured(module, "weight", amount=0.5)
    for ours, module in zip(weights(compress(policy, "prune_weights(0.5)")), modules, strict=True):
        np.testing.assert_array_equal(ours, module.weight.detach().numpy())
    for module in modules:
        prune.remove(module, "weight")
    for weight, module in zip(weights(policy), modules, strict=True):
        module.weight.data = torch.from_numpy(weight.copy())
    prune.global_unstructured([(module, "weight") for module in modules], prune.L1Unstructured, amount=0.75)
    for ours, module in zip(weights(compress(policy, "prune_weights(0.75, scope='global')")), modules, strict=True):
        np.testing.assert_array_equal(ours, module.weight.detach().numpy())


@given(policies(forms=("float32", "float16")), weight_prunings(importances=("magnitude",)))
def test_the_smallest_weights_of_any_policy_are_zero_and_nothing_else_changes(policy: Policy, step) -> None:
    try:
        small = compress(policy, (step,))
    except NotApplicable:
        zero = [np.mean(weight == 0) for weight in weights(policy)]
        sizes = [weight.size for weight in weights(policy)]
        there = [np.average(zero, weights=sizes)] if step.scope == "global" else zero
        assert (
            all(part * size + 1 > step.sparsity * size for part, size in zip(there, sizes, strict=False))
            or min(there) == 0
        )
        return
    for before, after in zip(policy.layers, small.layers, strict=True):
        if not isinstance(before, layers.Dense | layers.Conv2d):
            assert before is after
            continue
        assert isinstance(after, layers.Dense | layers.Conv2d)
        assert after.bias is before.bias
        kept = after.weight != 0
        np.testing.assert_array_equal(after.weight[kept], before.weight[kept])
        if step.scope == "layer" and kept.any() and not kept.all():
            assert np.abs(before.weight[~kept]).max() <= np.abs(before.weight[kept]).min()
            assert (~kept).sum() == max(int(step.sparsity * kept.size + 1e-9), (before.weight == 0).sum())


def test_convolutions_are_pruned_too() -> None:
    policy = image_policy(np.random.default_rng(1))
    small = compress(policy, "prune_weights(0.5)")
    assert [round(float(np.mean(weight == 0)), 2) for weight in weights(small)] == [0.5] * 4
    assert small.model_bytes < policy.model_bytes


def test_what_cannot_be_pruned_is_said() -> None:
    policy = mlp((4, 5, 2), np.random.default_rng(2))
    with pytest.raises(NotApplicable, match=r"prune_weights: a sparsity of 0.4 is there already"):
        compress(policy, "prune_weights(0.5) | prune_weights(0.4)")
    with pytest.raises(
        NotApplicable, match=r"prune_weights: a sparsity of 0.01 is there already; nothing to set to zero"
    ):
        compress(policy, "prune_weights(0.01)")
    with pytest.raises(LilliputError, match="prune_weights: layer 0 is QuantizedDense; prune before quantize"):
        compress(policy, "quantize() | prune_weights(0.5)")
