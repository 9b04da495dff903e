"""Pickled modules by their classes: what is known acts as its program does, what is nearly known is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.policies.load.layout_states import (
    BOX,
    CONVOLUTION,
    V,
    batch,
    forward,
    relu,
    squashed,
    written,
)
from tests.policies.load.torch_writer import Pickled, layer, linear, module, sequential

from lilliput.errors import LilliputError
from lilliput.policies import reference, spaces
from lilliput.policies.load import load_policy
from lilliput.policies.policy import Policy

CONVOLUTION_MODULE = module("torch.nn.modules.conv.Conv2d", arrays=CONVOLUTION, stride=(1, 1), padding=(0, 0))


def spinning_up(actor: Pickled, *critics: str) -> Pickled:
    q = module("core.MLPQFunction", {"q": sequential(linear(7, 1))})
    return module("spinup.algos.pytorch.td3.core.MLPActorCritic", {"pi": actor, **dict.fromkeys(critics, q)})


def relu_net(*ends: Pickled, sizes: tuple[int, int] = (5, 8)) -> Pickled:
    return sequential(linear(*sizes), layer("activation.ReLU", inplace=False), *ends)


LIMIT = np.float32(2).reshape(())
SQUASHED = relu_net(linear(8, 2, 1), layer("activation.Tanh"))
TD3 = spinning_up(module("core.MLPActor", {"pi": SQUASHED}, act_limit=LIMIT), "q1", "q2")
SAC = spinning_up(
    module(
        "core.SquashedGaussianMLPActor",
        {"net": relu_net(), "mu_layer": linear(8, 2, 1), "log_std_layer": linear(8, 2, 2)},
        act_limit=2.0,
    ),
    "q1",
    "q2",
)
GAUSSIAN = spinning_up(
    module(
        "core.MLPGaussianActor", {"mu_net": relu_net(linear(8, 2, 1), layer("linear.Identity"))}, {"log_std": V[:2]}
    ),
    "v",
)
CATEGORICAL = spinning_up(module("core.MLPCategoricalActor", {"logits_net": relu_net(linear(8, 2, 1))}), "v")
STATE = {
    f"{name}.{key}": array
    for name, part in (("a", linear(5, 8)), ("b", linear(8, 2, 1)))
    for key, array in part.state["_parameters"].items()
}


def vector_base(**own: Any) -> Pickled:
    children = {"actor": relu_net(), "critic": relu_net(), "critic_linear": linear(8, 1), **own}
    return module("a2c_ppo_acktr.model.MLPBase", children, _recurrent=False)


def ikostrikov(base: Pickled, statistics: Any = None) -> Any:
    bias = module("utils.AddBias", arrays={"_bias": np.full((2, 1), 0.5, "f4")})
    head = module("a2c_ppo_acktr.distributions.DiagGaussian", {"fc_mean": linear(8, 2, 1), "logstd": bias})
    return [module("a2c_ppo_acktr.model.Policy", {"base": base, "dist": head}), statistics]


def normal(x: np.ndarray) -> np.ndarray:
    return forward(STATE, ["a", "b"], x, relu)


RMS = Pickled("baselines.common.running_mean_std.RunningMeanStd", {"mean": 0.5, "var": 4.0})


@pytest.mark.parametrize(
    ("value", "options", "expected"),
    [
        (TD3, {}, lambda x: squashed(normal(x))),
        (SAC, {}, lambda x: squashed(normal(x))),
        (GAUSSIAN, BOX, lambda x: np.clip(normal(x), -2, 2)),
        (CATEGORICAL, {}, lambda x: normal(x).argmax(1)),
        (relu_net(linear(8, 2, 1)), {"action": "discrete"}, lambda x: normal(x).argmax(1)),
        (ikostrikov(vector_base()), BOX, lambda x: np.clip(normal(x), -2, 2)),
    ],
)
def test_a_pickled_module_acts_as_its_classes_say(
    value: Any, options: dict[str, Any], expected: Callable[[np.ndarray], np.ndarray], tmp_path: Path
) -> None:
    policy = load_policy(written(value, tmp_path), **options)
    np.testing.assert_allclose(reference.act(policy, batch(5)), expected(batch(5)), atol=1e-5)


def test_a_module_is_found_in_its_wrappers(tmp_path: Path) -> None:
    plain = load_policy(written(TD3, tmp_path))
    parallel = module("torch.nn.parallel.data_parallel.DataParallel", {"module": TD3})
    compiled = module("torch._dynamo.eval_frame.OptimizedModule", {"_orig_mod": parallel})
    for value in (parallel, compiled, {"model": TD3, "epoch": 3}, {"actor_critic": TD3, "critic_target": relu_net()}):
        assert load_policy(written(value, tmp_path)).digest == plain.digest
    for value, message in (
        ({"model": TD3, "obs_mean": V}, "a pickled .*MLPActorCritic under 'model'"),
        ({"model": TD3, "other": TD3}, "a pickled .*MLPActorCritic under 'model'"),
        ({"model": TD3, "normalize_obs": True}, "normalize_obs is true"),
        ({"model": TD3, "rms": Pickled("mine.Rms")}, "a pickled"),
    ):
        with pytest.raises(LilliputError, match=message):
            load_policy(written(value, tmp_path))


def test_an_act_limit_is_the_bound(tmp_path: Path) -> None:
    space = load_policy(written(TD3, tmp_path)).action_space
    assert isinstance(space, spaces.Box)
    assert space.high.tolist() == [2.0, 2.0]


def actor(net: Pickled, act_limit: Any = None, **children: Pickled) -> Pickled:
    return module("core.MLPActor", {"pi": net, **children}, act_limit=act_limit)


def test_a_file_that_grows_when_it_is_followed_is_refused(tmp_path: Path) -> None:
    import io
    import zipfile

    # Every list holds the one before it twice: 28 of them are 2^28 empty lists.
    pickled = b"\x80\x02]q\x00" + b"".join(b"]q%c(h%ch%ce" % (n, n - 1, n - 1) for n in range(1, 28)) + b"."
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
    (tmp_path / "x.pt").write_bytes(stream.getvalue())
    with pytest.raises(LilliputError, match="holds more than 20000 things"):
        load_policy(tmp_path / "x.pt")


@pytest.mark.frameworks
def test_a_sequential_of_torch_with_batch_norms_and_an_activation_at_its_end(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    nn = torch.nn
    torch.manual_seed(0)
    x = batch(5)

    def saved_by_torch(*modules: Any, name: str = "x.pt") -> tuple[Path, np.ndarray]:
        net = nn.Sequential(*modules)
        for one in net.modules():
            if isinstance(one, nn.BatchNorm1d) and one.track_running_stats:
                one.running_mean.normal_()
                one.running_var.uniform_(0.1, 2)
                if one.affine:
                    nn.init.normal_(one.weight)
        torch.save(net, tmp_path / name)  # as most do, without .eval()
        with torch.no_grad():
            return tmp_path / name, net.eval()(torch.tensor(x)).numpy()

    inner = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8, eps=0.01))
    normed = (nn.BatchNorm1d(5, affine=False), inner, nn.ReLU(), nn.BatchNorm1d(8), nn.Linear(8, 2), nn.Tanh())
    path, wanted = saved_by_torch(*normed)
    box: Any = {"action_low": -1.0, "action_high": 1.0}
    np.testing.assert_allclose(reference.act(load_policy(path, action="continuous", **box), x), wanted, atol=1e-5)
    squashed = load_policy(path, action="tanh", **BOX)
    np.testing.assert_allclose(reference.act(squashed, x), 2 * wanted, atol=1e-5)
    assert any(
        "Tanh that it ends in is taken as the one of --action tanh" in one for one in squashed.provenance.guesses
    )
    assert (reference.act(load_policy(path, action="discrete"), x) == wanted.argmax(1)).all()
    path, wanted = saved_by_torch(nn.Linear(5, 3), nn.Sigmoid())
    np.testing.assert_allclose(reference.act(load_policy(path, action="continuous", **box), x), wanted, atol=1e-6)
    np.testing.assert_allclose(reference.act(load_policy(path, action="tanh", **box), x), np.tanh(wanted), atol=1e-6)
    for odd in ((nn.Linear(5, 3), nn.ReLU(), nn.BatchNorm1d(3)), (nn.BatchNorm1d(5), nn.LayerNorm(5), nn.Linear(5, 3))):
        with pytest.raises(LilliputError, match="BatchNorm1d with no Linear right before or behind"):
            load_policy(saved_by_torch(*odd)[0], action="discrete")
    bare = nn.BatchNorm1d(5, track_running_stats=False)
    with pytest.raises(LilliputError, match="BatchNorm1d with running statistics"):
        load_policy(saved_by_torch(bare, nn.Linear(5, 3))[0], action="discrete")


def odd(policy: Policy) -> None:
    raise AssertionError(f"loaded as {policy.provenance}")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            module("my.core.MLPActorCritic", {"pi": TD3.state["_modules"]["pi"], "encoder": linear(5, 5)}),
            "of the class 'my.core.MLPActorCritic'",
        ),
        (spinning_up(actor(relu_net(linear(8, 2)), act_limit=LIMIT), "q"), "does not end in Tanh"),
        (spinning_up(actor(relu_net(linear(8, 2), layer("activation.Tanh"))), "q"), "act_limit is None"),
        (
            spinning_up(actor(relu_net(linear(8, 2)), norm=linear(5, 5), act_limit=LIMIT), "q"),
            "differs from its namesake in norm",
        ),
        (
            spinning_up(module("core.TransformerActor", {"pi": relu_net()}), "q"),
            "of the class 'TransformerActor' is none",
        ),
        (
            spinning_up(
                module("core.MLPCategoricalActor", {"logits_net": relu_net(layer("activation.Mish"), linear(8, 2))}),
                "v",
            ),
            "holds a module torch.nn.modules.activation.Mish",
        ),
        (ikostrikov(vector_base(gru=linear(8, 8))), "is a recurrent policy"),
        (ikostrikov(vector_base(extra=linear(8, 8))), "differs from its namesake in extra"),
        (ikostrikov(vector_base(), {"mean": V}), "what follows the policy in its list"),
        (module("torch.nn.modules.container.Sequential", {"0": linear(5, 2)}, {"scale": V}), "where a Sequential"),
        (sequential(CONVOLUTION_MODULE, layer("flatten.Flatten"), linear(64, 2)), "is a Sequential for images"),
        (module("mine.Actor", {"net": relu_net()}), "a pickled module of the class 'mine.Actor'"),
        ([relu_net(linear(8, 2)), {"obs_mean": V}], "a pickled module of the class"),
    ],
)
def test_a_module_that_is_nearly_known_is_refused(value: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(LilliputError, match=message) as caught:
        odd(load_policy(written(value, tmp_path)))
    assert "\n" not in str(caught.value)
