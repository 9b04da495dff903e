"""Pruning while training: masks follow the schedule and hold, and what begins anew begins where the method says."""

import copy
import json
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("stable_baselines3")

from tests.policies.learn.test_train import inputs, predicted  # noqa: E402
from tests.policies.learn.toys import FEW, FOLLOW, SIGN, SMALL, quick  # noqa: E402

from lilliput.errors import LilliputError  # noqa: E402
from lilliput.policies import layers, reference  # noqa: E402
from lilliput.policies.learn import train  # noqa: E402
from lilliput.policies.learn.rl import run  # noqa: E402
from lilliput.policies.learn.rl.training import TIMES, Pruning, Training  # noqa: E402
from lilliput.policies.students.torch_layer import Bits, Compressed  # noqa: E402

pytestmark = pytest.mark.frameworks


def sparsity_of(chain: tuple[Compressed, ...]) -> float:
    """The share of all weights that is masked."""
    total = sum(layer.mask.numel() for layer in chain)
    return 1 - sum(int(layer.mask.sum()) for layer in chain) / total


def test_masks_follow_the_schedule_and_stay(tmp_path, monkeypatch):
    seen = []
    original = run.TrainingRun.compress

    def watched(course, step):
        before = [layer.mask.clone() for layer in course.chain]
        original(course, step)
        for layer, mask in zip(course.chain, before, strict=True):
            assert bool((layer.mask <= mask).all())
            assert bool((layer.weight[layer.mask == 0].abs() < 1e-2).all())
        seen.append((step / 160, sparsity_of(course.chain)))

    plan = Pruning(0.8, 0.2, 0.8, "global")
    monkeypatch.setattr(run.TrainingRun, "compress", watched)
    trained = train(
        "sac",
        FOLLOW,
        tmp_path,
        steps=160,
        segment=80,
        episodes=1,
        hidden=(16, 16),
        settings=SMALL,
        pruning=plan,
    )
    for share, sparsity in seen:
        assert sparsity == pytest.approx(plan.at(share), abs=0.03)
    weights = [layer.weight for layer in trained.policy.layers if isinstance(layer, layers.Dense)]
    zeros = sum(int((weight == 0).sum()) for weight in weights) / sum(weight.size for weight in weights)
    assert zeros == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize(("name", "method"), [("dqn", "set"), ("sac", "rigl")])
def test_sparse_from_the_start_moves_weights_at_one_sparsity_also_after_an_interruption(
    name, method, tmp_path, monkeypatch
):
    """Between `start` and `end` masks change, a quarter of the weights always there; what begins, begins from zero."""
    seen: list[tuple[float, list[Any]]] = []
    original = run.TrainingRun.compress

    def watched(course, step):
        before = [layer.mask.clone() for layer in course.chain]
        original(course, step)
        for layer, mask in zip(course.chain, before, strict=True):
            assert bool((layer.weight[layer.mask == 0].abs() < 1e-2).all())  # momentum moves them on a little
            if seen:
                assert bool((layer.weight[(layer.mask > 0) & (mask == 0)] == 0).all())
        assert sparsity_of(course.chain) == pytest.approx(0.75, abs=0.02)
        seen.append((step / 160, [layer.mask.clone() for layer in course.chain]))

    environment, settings = quick(name)
    asked: dict[str, Any] = {"steps": 160, "segment": 40, "episodes": 1, "hidden": (16, 16), "settings": settings,
                             "pruning": Pruning(0.75, 0.2, 0.7, "erdos_renyi", method=method)}  # fmt: skip
    with monkeypatch.context() as watching:
        watching.setattr(run.TrainingRun, "compress", watched)
        train(name, environment, tmp_path / "whole", **asked)
    early, changing, late = (
        {tuple(bytes(mask.numpy()) for mask in masks) for share, masks in seen if low <= share < high}
        for low, high in ((0, 0.2), (0.2, 0.7), (0.71, 1.01))
    )
    assert len(early) == len(late) == 1
    assert len(changing) > 20
    while train(name, environment, tmp_path / "cut", **asked, within=0.0).steps < 160:
        pass
    for file in ("policy.lilliput", "best.lilliput"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "cut" / file).read_bytes()


@pytest.mark.parametrize("method", ["set", "rigl"])
@pytest.mark.parametrize("asked", [{"units": True}, {"distribution": "global"}])
def test_sparse_from_the_start_is_of_weights_within_layers(method, asked):
    with pytest.raises(LilliputError, match=f"{method} moves single weights within layers"):
        Pruning(0.5, method=method, **asked)


def test_gradients_of_an_algorithm_that_steps_along_others_are_not_asked_for():
    with pytest.raises(LilliputError, match="rigl asks for the gradients of a loss, and trpo steps along others"):
        Training("trpo", FOLLOW, 10, pruning=Pruning(0.5, method="rigl"))


@pytest.mark.parametrize("bits", [None, Bits(4, None), Bits(4, 4)])
def test_gradients_of_masked_weights_are_those_of_weights_that_are_0(bits):
    """Torch says the same of the layer without a mask, the weights being 0 there; their own gradient stays 0."""
    torch.manual_seed(0)
    watched, dense = masked(bits)
    watched.watch()
    x = torch.rand(32, 8) - 0.5
    for layer in (watched, dense):
        for part in (x[:16], x[16:]):
            layer(part).square().sum().backward()
        with torch.no_grad():
            layer(x)
    assert watched.gradient is not None
    assert watched.weight.grad is not None
    torch.testing.assert_close(watched.gradient, dense.weight.grad)  # summed in another order
    assert bool((watched.weight.grad[watched.mask == 0] == 0).all())
    assert bool((watched.gradient[watched.mask == 0] != 0).any())


def test_weights_begin_where_the_gradient_is_largest_and_fewer_each_time():
    torch.manual_seed(1)
    layer, _ = masked(None)
    layer.watch()
    pruning, before = Pruning(0.5, method="rigl"), layer.mask.clone()
    run.pruning.move((layer,), pruning, 2, 0)
    assert torch.equal(layer.mask, before), "nothing was learned yet, so no place is better than another"
    layer(torch.rand(16, 8)).square().sum().backward()
    assert layer.gradient is not None
    there, weight, gradient = int(before.sum()), layer.weight.detach().clone(), layer.gradient.abs().clone()
    moment = TIMES // 2 + 1  # half of the time is over, and a cosine is half of what it was
    run.pruning.move((layer,), pruning, moment, 0)
    order = np.argsort(-np.where(before > 0, weight.abs(), -1.0), axis=None)
    staying = np.zeros(before.numel(), bool)
    staying[order[: there - round(0.15 * there)]] = True
    order = np.argsort(-np.where(staying, -1.0, gradient.flatten()))[: round(0.15 * there)]
    expected = staying.copy()
    expected[order] = True
    assert np.array_equal(layer.mask.flatten() > 0, expected)
    assert bool((layer.weight.flatten()[order] == 0).all())
    assert not layer.gradient.any()
    after = layer.mask.clone()
    layer(torch.rand(16, 8)).square().sum().backward()
    run.pruning.move((layer,), pruning, TIMES + 1, 0)
    assert torch.equal(layer.mask, after), "at the last time none goes"


def masked(bits: Bits | None) -> tuple[Compressed, Compressed]:
    """A layer of which half is masked, and the same without a mask whose weights are 0 there."""
    layer = Compressed(torch.nn.Linear(8, 8), bits, signed=True, per_input=False)
    layer.mask.copy_(torch.rand(8, 8) < 0.5)
    with torch.no_grad():
        layer.weight.mul_(layer.mask)
    if bits is not None:
        layer(torch.rand(16, 8) - 0.5)
        layer.begin()
    other = copy.deepcopy(layer)
    other.mask.fill_(1)
    return layer, other


def test_a_folder_from_before_there_were_two_methods_goes_on(tmp_path):
    asked: dict[str, Any] = {"steps": 80, "segment": 40, "episodes": 1, "hidden": (8,), "settings": FEW}
    train("a2c", SIGN, tmp_path, **asked, pruning=Pruning(0.5))
    found = json.loads((tmp_path / "training.json").read_text())
    del found["pruning"]["method"]
    (tmp_path / "training.json").write_text(json.dumps({**found, "training_format": 1}))
    assert train("a2c", SIGN, tmp_path, **asked, pruning=Pruning(0.5)).steps == 80


@pytest.mark.parametrize("distribution", ["uniform", "erdos_renyi", "global"])
def test_every_distribution_holds_the_sparsity_over_all_layers(distribution):
    torch.manual_seed(0)
    shapes = ((4, 32), (32, 32), (32, 2))
    chain = tuple(Compressed(torch.nn.Linear(*shape), None, signed=True, per_input=False) for shape in shapes)
    run.pruning.cut(chain, Pruning(0.7, distribution=distribution), 0.7)
    assert sparsity_of(chain) == pytest.approx(0.7, abs=0.01)
    densities = [float(layer.mask.mean()) for layer in chain]
    assert min(densities) > 0
    if distribution == "erdos_renyi":  # the wide layer pays for the narrow ones
        assert densities[1] < min(densities[0], densities[2])


def test_pruned_units_are_gone_and_the_policy_does_the_same(tmp_path):
    trained = train(
        "td3",
        FOLLOW,
        tmp_path,
        steps=100,
        segment=50,
        episodes=1,
        hidden=(16, 12),
        settings=SMALL,
        pruning=Pruning(0.5, 0.1, 0.6, units=True),
    )
    shapes = [layer.weight.shape for layer in trained.policy.layers if isinstance(layer, layers.Dense)]
    assert shapes == [(8, 2), (6, 8), (2, 6)]
    x = inputs(32)
    np.testing.assert_allclose(reference.act(trained.policy, x), predicted("td3", tmp_path, x), atol=1e-5)
