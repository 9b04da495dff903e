"""What a training refuses before it begins, and what it keeps where it cannot go on."""

import errno
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("stable_baselines3")
pytest.importorskip("sb3_contrib")

from tests.policies.learn.toys import FEW, FOLLOW, SIGN, SMALL, Follow, quick  # noqa: E402

from lilliput.errors import LilliputError  # noqa: E402
from lilliput.files import LOCK, locked  # noqa: E402
from lilliput.policies import layers  # noqa: E402
from lilliput.policies.learn import train  # noqa: E402
from lilliput.policies.learn.rl.training import Quantization  # noqa: E402

pytestmark = pytest.mark.frameworks


def test_losses_that_are_no_numbers_are_one_line_and_lose_nothing(tmp_path):
    settings = {**quick("ppo")[1], "learning_rate": 1e30}
    with pytest.raises(LilliputError, match=r"training diverged: .* nothing was kept yet") as caught:
        train("ppo", SIGN, tmp_path, steps=400, segment=100, episodes=1, settings=settings, normalize=False)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "environment", "message"),
    [
        (
            "sac",
            "NaN-v0",
            r"after 0 steps \(the environment paid nan, which is no finite number\); nothing was kept yet",
        ),
        (
            "ppo",
            "Blind-v0",
            r"after 59 steps \(the observation is not finite: 2 of 2 numbers, nan at 0; .* 40 steps is",
        ),
    ],
)
def test_what_is_no_number_never_gets_into_a_buffer(name, environment, message, tmp_path):
    settings = quick(name)[1]
    with pytest.raises(LilliputError, match=message) as caught:
        train(name, environment, tmp_path, steps=80, segment=40, episodes=1, hidden=(4,), settings=settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "environment", "message"),
    [
        ("dqn", FOLLOW, "plays discrete actions"),
        ("sac", SIGN, "plays continuous actions"),
        ("ppo", "Nowhere-v0", "Nowhere"),
    ],
)
def test_an_environment_that_cannot_be_played_is_refused(name, environment, message, tmp_path):
    with pytest.raises(LilliputError, match=message):
        train(name, environment, tmp_path / "out", steps=10)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_another_training_is_refused_and_begun_anew_with_force(tmp_path):
    common: dict[str, Any] = {"steps": 80, "segment": 40, "episodes": 1, "hidden": (8,), "settings": FEW}
    train("a2c", SIGN, tmp_path, **common)
    with pytest.raises(LilliputError, match=r"another training \(seed differ\)"):
        train("a2c", SIGN, tmp_path, **common, seed=1)
    assert train("a2c", SIGN, tmp_path, **common, seed=1, force=True).steps == 80


def test_a_folder_of_something_else_is_refused_and_left_as_it_is(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(LilliputError, match="holds something else"):
        train("a2c", SIGN, tmp_path, steps=40, hidden=(4,), settings=FEW)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_two_trainings_are_not_at_work_in_one_folder(tmp_path):
    """Both would write to one replay buffer."""
    common: dict[str, Any] = {"steps": 40, "segment": 40, "episodes": 1, "hidden": (4,), "settings": FEW}
    with locked(tmp_path), pytest.raises(LilliputError, match="another run is at work in"):
        train("a2c", SIGN, tmp_path, **common)
    assert train("a2c", SIGN, tmp_path, **common).steps == 40


def test_layers_that_nothing_reached_are_said_not_to_be_quantized(tmp_path, monkeypatch):
    monkeypatch.setattr(Follow, "_show", lambda environment: np.zeros(2, np.float32))
    asked = Quantization(8, 8)
    found = train("a2c", SIGN, tmp_path, steps=40, segment=40, episodes=1, hidden=(4,), settings=FEW, normalize=False,
                  quantization=asked)  # fmt: skip
    assert not any(isinstance(layer, layers.QuantizedDense) for layer in found.policy.layers)
    assert any("2 of 2 layers are not quantized" in note for note in found.notes)


def test_a_replay_buffer_that_does_not_fit_the_disk_is_refused_before_it_begins(tmp_path, monkeypatch):
    full = shutil.disk_usage(tmp_path)._replace(free=0)
    monkeypatch.setattr("lilliput.policies.learn.rl.replay.shutil.disk_usage", lambda _: full)
    with pytest.raises(LilliputError, match=r"the replay buffer takes .* MB are free"):
        train("sac", FOLLOW, tmp_path / "out", steps=100, settings=SMALL)


def test_a_zip_of_another_algorithm_is_refused(tmp_path):
    """PPO's and A2C's networks are alike, so that only the zip's settings tell."""
    train("a2c", SIGN, tmp_path / "a", steps=40, segment=40, episodes=1, hidden=(4,), settings=FEW)
    with pytest.raises(LilliputError, match=r"'model\.zip' was trained by A2C, and --algo is ppo"):
        train("ppo", SIGN, tmp_path / "b", steps=40, start_from=tmp_path / "a" / "model.zip")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("failing", ["model.zip", "policy.lilliput", "state.pt"])
def test_a_full_disk_is_one_line_and_the_same_training_goes_on_afterwards(failing, tmp_path, monkeypatch):
    """Whichever file of the second checkpoint there is no room for: what follows is as if nothing had happened."""
    asked: dict[str, Any] = {"steps": 120, "segment": 40, "episodes": 1, "hidden": (4,), "settings": FEW}
    train("a2c", SIGN, tmp_path / "whole", **asked)
    written: list[str] = []

    def fsync(descriptor: int) -> None:
        written.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        if sum(f".{failing}." in name for name in written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr("lilliput.files.os.fsync", fsync)
        with pytest.raises(LilliputError, match="is full after 80 steps; what was there after 40 steps is kept"):
            train("a2c", SIGN, tmp_path / "cut", **asked)
    assert {file.name for file in (tmp_path / "cut").iterdir() if file.name.startswith(".")} == {LOCK}
    train("a2c", SIGN, tmp_path / "cut", **asked)
    for file in ("policy.lilliput", "best.lilliput"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "cut" / file).read_bytes()


@pytest.mark.parametrize(
    ("environment", "said"), [("Breaks-v0", "KeyError: 'sensor 3'"), ("Leaves-v0", "SystemExit: no licence")]
)
def test_an_environment_that_breaks_down_is_one_line_and_its_last_checkpoint_stays(environment, said, tmp_path):
    with pytest.raises(LilliputError, match=rf"stopped after 59 steps \({said}\); .* 40 steps is kept"):
        train("a2c", environment, tmp_path, steps=80, segment=40, episodes=1, hidden=(4,), settings=FEW)
    assert (tmp_path / "best.lilliput").exists()


def test_a_training_that_kept_nothing_yet_makes_room_for_another(tmp_path):
    common: dict[str, Any] = {"steps": 80, "segment": 80, "episodes": 1, "hidden": (4,), "normalize": False}
    with pytest.raises(LilliputError, match="nothing was kept yet"):
        train("ppo", "NaN-v0", tmp_path, settings=quick("ppo")[1], **common)
    assert train("ppo", SIGN, tmp_path, settings=quick("ppo")[1], **common).steps == 80
