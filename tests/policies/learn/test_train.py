"""Training: resumed is uninterrupted, what is trained is deployed, and the frameworks load it."""

import json
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("stable_baselines3")
pytest.importorskip("sb3_contrib")

from click.testing import CliRunner  # noqa: E402
from tests.policies.learn import toys  # noqa: E402
from tests.policies.learn.toys import FOLLOW, SIGN, SMALL, quick  # noqa: E402

from lilliput.cli import cli  # noqa: E402
from lilliput.errors import LilliputError  # noqa: E402
from lilliput.policies import layers, reference  # noqa: E402
from lilliput.policies.export import export, open_artifact  # noqa: E402
from lilliput.policies.learn import train  # noqa: E402
from lilliput.policies.learn.rl import folder, run  # noqa: E402
from lilliput.policies.learn.rl.algorithm import ALGORITHMS, algorithm  # noqa: E402
from lilliput.policies.learn.rl.training import Pruning, Quantization, Training  # noqa: E402
from lilliput.policies.students.torch_layer import Compressed  # noqa: E402

pytestmark = pytest.mark.frameworks


def inputs(n: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (n, 2)).astype(np.float32)


def predicted(name: str, folder: Any, x: np.ndarray) -> np.ndarray:
    return algorithm(name).load().load(folder / "model.zip", device="cpu").predict(x, deterministic=True)[0]


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_what_is_trained_at_few_bits_is_what_is_deployed_to_the_bit(name, tmp_path, monkeypatch):
    environment, settings = quick(name)
    models = []
    original = run.make_model
    monkeypatch.setattr(run, "make_model", lambda *given: models.append(original(*given)) or models[-1])
    trained = train(
        name,
        environment,
        tmp_path / "out",
        steps=120,
        segment=60,
        episodes=1,
        hidden=(8, 8),
        normalize=False,
        settings=settings,
        quantization=Quantization(4, 3, 6),
        pruning=Pruning(0.5),
    )
    deciding = models[0].policy.get_submodule(ALGORITHMS[name].decision[-1].partition(".")[0])
    root = models[0].policy if ALGORITHMS[name].on_policy else deciding
    chain = [module for module in root.modules() if isinstance(module, Compressed)]
    assert all(bool(layer.quantized) for layer in chain)
    linear = [layer for layer in trained.policy.layers if isinstance(layer, layers.Linear)]
    assert sum(isinstance(layer, layers.QuantizedDense) for layer in linear) == len(linear) - ALGORITHMS[name].folds
    activation = torch.relu if any(isinstance(one, layers.Relu) for one in trained.policy.layers) else torch.tanh
    flat = torch.from_numpy(1.5 * inputs(64))
    for layer, compressed in zip(linear, chain, strict=False):
        with torch.no_grad():
            theirs = compressed(flat)
        np.testing.assert_array_equal(reference.apply(layer, flat.numpy()), theirs.numpy())
        flat = activation(theirs)
    export(trained.policy, "c", tmp_path / "c")
    act = open_artifact(tmp_path / "c")
    x = inputs(32)
    np.testing.assert_allclose(np.stack([act(one) for one in x]), reference.act(trained.policy, x), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "train_freq", "done"), [("dqn", 4, 152), ("dqn", 6, 150), ("td3", [1, "episode"], 160)]
)
def test_the_last_rollout_may_go_beyond_the_last_step(name, train_freq, done, tmp_path):
    environment, settings = quick(name)
    settings["train_freq"] = train_freq
    trained = train(name, environment, tmp_path, steps=150, segment=150, episodes=1, hidden=(4,), settings=settings)
    assert trained.steps == done


@pytest.mark.parametrize("name", ["dqn", "ppo"])
def test_images_are_played_as_the_framework_turned_them(name, tmp_path):
    _, settings = quick(name)
    trained = train(name, "Bright-v0", tmp_path, steps=80, segment=80, episodes=1, settings=settings)
    assert trained.policy.provenance.wrappers == ("transpose_image",)
    shown = np.random.default_rng(0).integers(0, 256, (6, 1, 36, 36), np.uint8)
    np.testing.assert_array_equal(reference.act(trained.policy, shown), predicted(name, tmp_path, shown))


@pytest.mark.parametrize(
    ("name", "environment", "shape", "kind"),
    [
        ("qrdqn", "Switches-v0", (4, 4, 2), bool),
        ("ppo", "Switches-v0", (4, 4, 2), bool),
        ("dqn", "Dim-v0", (3, 7, 7), np.uint8),
        ("a2c", "Dim-v0", (3, 7, 7), np.uint8),
    ],
)
def test_what_convolutions_do_not_take_goes_in_as_one_vector(name, environment, shape, kind, tmp_path):
    """Boards of switches, which are no images to the frameworks, and images too small for them."""
    trained = train(name, environment, tmp_path, steps=80, segment=80, episodes=1, hidden=(8,), settings=quick(name)[1])
    assert any("goes in as one vector" in note for note in trained.notes)
    shown = np.random.default_rng(0).integers(0, 256, (32, *shape)).astype(kind)
    np.testing.assert_array_equal(reference.act(trained.policy, shown), predicted(name, tmp_path, shown))


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_the_framework_loads_the_zip_and_acts_as_the_policy_does(name, tmp_path):
    environment, settings = quick(name)
    trained = train(
        name,
        environment,
        tmp_path,
        steps=80,
        segment=40,
        episodes=1,
        hidden=(8, 8),
        normalize=False,
        settings=settings,
        pruning=Pruning(0.6, 0.1, 0.5),
    )
    x = inputs(32)
    np.testing.assert_allclose(reference.act(trained.policy, x), predicted(name, tmp_path, x), atol=1e-5)


def train_in_parts(name: str, out: Any) -> None:
    """A training of five checkpoints."""
    environment, settings = quick(name)
    train(
        name,
        environment,
        out,
        steps=200,
        segment=40,
        episodes=1,
        hidden=(8, 8),
        normalize=name == "ppo",
        settings=settings,
        quantization=Quantization(4, 4, 8, 0.3),
        pruning=Pruning(0.5),
    )


FORKS = """
    import os, signal, sys
    from tests.policies.learn import toys
    from tests.policies.learn.test_train import train_in_parts

    for line in sys.stdin:
        name, folder, last = line.split()
        child = os.fork()
        if not child:
            left, show = iter(range(int(last))), toys.Follow._show

            def killed(environment):
                if next(left, None) is None:
                    os.kill(os.getpid(), signal.SIGKILL)
                return show(environment)

            toys.Follow._show = killed
            train_in_parts(name, folder)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def forks() -> Iterator[subprocess.Popen[str]]:
    """Another process, which has imported all there is to import; it trains in a child for every line that it reads,
    and kills it where its environments have shown so many observations.
    """
    command = [sys.executable, "-c", textwrap.dedent(FORKS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ppo", "sac", "dqn"])
def test_a_training_that_was_killed_goes_on_to_the_same_bits(name, tmp_path, forks):
    train_in_parts(name, tmp_path / "whole")
    # In the middle of a segment: one and an evaluation take some 60 observations.
    for last, checkpoints, status in ((85, 1, -signal.SIGKILL), (150, 3, -signal.SIGKILL), (1000, 5, 0)):
        print(name, tmp_path / "cut", last, file=forks.stdin, flush=True)
        assert int(forks.stdout.readline()) == status
        assert len(_state(tmp_path / "cut")["extra"]["evaluations"]) == checkpoints
    for file in ("policy.lilliput", "best.lilliput"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "cut" / file).read_bytes()
    one, other = (_state(tmp_path / name) for name in ("whole", "cut"))
    assert one["extra"] == other["extra"]
    assert _equal(one["modules"], other["modules"])


def _state(folder) -> dict[str, Any]:
    return torch.load(folder / "state.pt", weights_only=True)


def _equal(one, other) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    return one == other


@pytest.mark.slow
def test_it_learns_what_there_is_to_learn_at_four_bits(tmp_path):
    trained = train(
        "ppo",
        SIGN,
        tmp_path,
        steps=1536,
        segment=768,
        episodes=5,
        hidden=(16,),
        normalize=False,
        settings={"n_steps": 256, "n_envs": 1, "learning_rate": 3e-3, "batch_size": 64},
        quantization=Quantization(4, 4),
    )
    assert np.mean(trained.evaluations[-1].returns) > 18  # of 20; choosing by chance gives 10


def test_a_policy_goes_on_learning_from_a_zip(tmp_path):
    common: dict[str, Any] = {"segment": 60, "episodes": 1}
    first = train("sac", FOLLOW, tmp_path / "a", steps=120, hidden=(8, 8), settings=SMALL, **common)
    start = tmp_path / "a" / "model.zip"
    idle = {**SMALL, "learning_starts": 1000}
    second = train("sac", FOLLOW, tmp_path / "b", steps=60, hidden=(8, 8), settings=idle, start_from=start, **common)
    x = inputs(8)
    np.testing.assert_array_equal(reference.act(first.policy, x), reference.act(second.policy, x))
    assert any("fresh: optimizers, replay buffer" in note for note in second.notes)
    with pytest.raises(LilliputError, match="other networks"):
        train("sac", FOLLOW, tmp_path / "c", steps=60, hidden=(9, 8), settings=SMALL, start_from=start)


def test_a_policy_goes_on_learning_with_the_networks_that_its_zip_has(tmp_path):
    """Hidden layers, critics and activation are those of the zip, not the tuned ones."""
    from stable_baselines3 import PPO

    networks = {"net_arch": {"pi": [7], "vf": [5, 6]}, "activation_fn": torch.nn.ELU}
    PPO("MlpPolicy", toys.Sign(), n_steps=40, batch_size=40, policy_kwargs=networks, device="cpu").save(
        tmp_path / "a.zip"
    )
    found = train("ppo", SIGN, tmp_path / "b", steps=40, segment=40, episodes=1, settings=quick("ppo")[1],
                  normalize=False, start_from=tmp_path / "a.zip")  # fmt: skip
    assert [layer.weight.shape for layer in found.policy.layers if isinstance(layer, layers.Dense)] == [(7, 2), (2, 7)]
    assert any(isinstance(layer, layers.Elu) for layer in found.policy.layers)
    assert found.policy.provenance.guesses == ()
    with pytest.raises(LilliputError, match="other networks"):
        train("ppo", SIGN, tmp_path / "c", steps=40, hidden=(9,), settings=quick("ppo")[1], normalize=False,
              start_from=tmp_path / "a.zip")  # fmt: skip
    assert not (tmp_path / "c").exists()


def test_the_command_prints_what_it_made(tmp_path):
    arguments = ["train", "--algo", "ppo", "--env", SIGN, "--steps", "80", "--segment", "40", "--episodes", "2"]
    arguments += ["--hidden", "8", "--weight-bits", "4", "--activation-bits", "4", "--set", "n_steps=40"]
    result = CliRunner().invoke(cli, [*arguments, "-o", str(tmp_path / "out"), "--json"], catch_exceptions=False)
    found = json.loads(result.stdout)
    assert found["done"]
    assert any("mini-batch" in note for note in found["notes"])
    assert [one["step"] for one in found["evaluations"]] == [40, 80]
    assert (tmp_path / "out" / "report.html").exists()
    refused = CliRunner().invoke(cli, [*arguments[:7], "--activation-bits", "4", "-o", str(tmp_path / "no")])
    assert "need --weight-bits" in str(refused.exception)


def test_policies_of_several_trainings_are_told_apart_by_their_source():
    plain = Training("sac", FOLLOW, 10, seed=1)
    others = [Training("sac", FOLLOW, 10), Training("sac", FOLLOW, 10, 1, quantization=Quantization(4, 4))]
    others += [Training("sac", FOLLOW, 10, 1, pruning=plan) for plan in (Pruning(0.95), Pruning(0.9, method="set"))]
    assert plain.words == "sac on Follow-v0, seed 1"
    assert others[-1].words == "sac on Follow-v0, seed 1, 90 % sparse (set, uniform)"
    assert len({one.words for one in (plain, *others)}) == 5


def test_a_training_is_the_same_data_when_read_again():
    training = Training("sac", FOLLOW, 10, hidden=(4,), quantization=Quantization(4), pruning=Pruning(0.5))
    assert folder.plain(training.to_json()) == json.loads(json.dumps(training.to_json()))


def test_a_training_too_short_to_learn_says_so(tmp_path):
    idle = {**SMALL, "learning_starts": 1000}
    found = train("sac", FOLLOW, tmp_path, steps=40, segment=40, episodes=1, hidden=(4,), settings=idle)
    assert any("nothing was learned: learning begins after 1,000 steps" in note for note in found.notes)
