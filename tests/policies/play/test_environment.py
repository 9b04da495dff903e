"""Ids that run, that ran once and that never did; spaces. Oracle: Gymnasium's own registry."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs import registration

from lilliput.errors import LilliputError, MissingDependency
from lilliput.policies import spaces
from lilliput.policies.play import (
    EnvironmentSpec,
    action_space_of,
    check_fit,
    make_environment,
    observation_space_of,
    successor,
)
from lilliput.policies.play.environment import _gone


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("HalfCheetah-v3", r"HalfCheetah-v3 is not registered \(needs mujoco_py\); use HalfCheetah-v4"),
        ("Ant-v2", r"Ant-v2 is not registered \(needs mujoco_py\); use Ant-v4"),
        ("LunarLander-v2", "LunarLander-v2 is not registered; use LunarLander-v3"),
        ("Pendulum-v0", "use Pendulum-v1"),
        ("HalfCheetah-v99", "there are HalfCheetah-v4, HalfCheetah-v5"),
        ("HalfCheeta-v4", r"did you mean HalfCheetah-v4\?"),
        ("Xyzzy-v0", "Xyzzy-v0 is not registered; name an id"),
        ("half cheetah", "'half cheetah' is no environment id"),
        ("", "'' is no environment id"),
        ("no_such_module:Thing-v0", "there is no module no_such_module; install it, put its folder into PYTHONPATH"),
        ("Mine-v0", "; of your own: module:Mine-v0, which it registers"),
        ("math:Mine-v0", "; math has to register it"),
        ("mine.py", "'mine.py' is no environment id; .* my_module:Mine-v0"),
        ("./mine.py:Mine-v0", r"'./mine.py' is no module's name; .* PYTHONPATH"),
        ("..mine:Mine-v0", r"'..mine' is no module's name"),
    ],
)
def test_an_id_that_does_not_run_says_what_to_do(name: str, message: str) -> None:
    with pytest.raises(LilliputError, match=message):
        make_environment(name)


def test_an_id_without_a_version_runs_as_in_gymnasium() -> None:
    gymnasium.register("Unversioned", entry_point="gymnasium.envs.classic_control.cartpole:CartPoleEnv")
    try:
        with_version, without = (make_environment(one) for one in ("CartPole-v1", "Unversioned"))
        np.testing.assert_array_equal(with_version.reset(seed=3)[0], without.reset(seed=3)[0])
    finally:
        del gymnasium.registry["Unversioned"]
    with pytest.raises(LilliputError, match="'Unversioned' is no environment id"):
        make_environment("Unversioned")


def test_a_package_that_registers_by_an_entry_point_does_so_still(tmp_path, monkeypatch) -> None:
    """As MinAtar's does, which Gymnasium called by itself until 1.0."""
    (tmp_path / "boards-1.0.dist-info").mkdir()
    (tmp_path / "boards-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: boards\nVersion: 1.0\n")
    (tmp_path / "boards-1.0.dist-info" / "entry_points.txt").write_text(
        "[gymnasium.envs]\nBoards = boards:register\nBroken = boards:nothing\n"
    )
    (tmp_path / "boards.py").write_text(
        "import gymnasium\n"
        "def register():\n"
        "    gymnasium.register('Boards/Pole-v0', 'gymnasium.envs.classic_control.cartpole:CartPoleEnv')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(LilliputError, match="Pole-v0 is not registered"):
        make_environment("Pole-v0")
    try:
        ours, theirs = (make_environment(one) for one in ("Boards/Pole-v0", "CartPole-v1"))
        np.testing.assert_array_equal(ours.reset(seed=3)[0], theirs.reset(seed=3)[0])
    finally:
        del gymnasium.registry["Boards/Pole-v0"]
    with pytest.raises(LilliputError, match="Boards/Other-v0 is not registered"):
        make_environment("Boards/Other-v0")
    with pytest.raises(LilliputError, match=r"Broken/Pole-v0 cannot be registered: .*nothing") as caught:
        make_environment("Broken/Pole-v0")
    assert registration.current_namespace is None, "what is registered later would stand in that namespace"
    assert "\n" not in str(caught.value)


def test_every_registered_id_runs_or_has_a_successor_that_does() -> None:
    names = {spec.id for spec in gymnasium.registry.values() if spec.id.startswith(("Hopper-", "Lunar", "CartPole"))}
    assert len(names) > 5
    for name in names:
        gone = _gone(gymnasium.registry[name])
        assert (successor(name) is not None) is gone


@pytest.mark.parametrize(
    ("name", "expected"), [("HalfCheetah-v3", "HalfCheetah-v4"), ("CartPole-v1", None), ("No-v1", None)]
)
def test_successor(name: str, expected: str | None) -> None:
    assert successor(name) == expected


def test_arguments_reach_the_environment_and_unknown_ones_are_refused() -> None:
    made = make_environment("Pendulum-v1", environment_kwargs={"g": 3.0})
    assert made.unwrapped.g == 3.0  # type: ignore[attr-defined]
    with pytest.raises(LilliputError, match=r"Pendulum-v1 cannot be made with {'gravity': 3}: .*'gravity'"):
        make_environment("Pendulum-v1", environment_kwargs={"gravity": 3})


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [("HalfCheetah-v4", "mujoco", "lilliput[mujoco]"), ("LunarLander-v3", "Box2D", "lilliput[box2d]")],
)
def test_a_missing_package_is_named(name: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for loaded in [key for key in sys.modules if key.split(".")[0] == module or key.startswith("gymnasium.envs.")]:
        if not loaded.startswith("gymnasium.envs.registration"):
            monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependency) as caught:
        make_environment(name)
    assert f"pip install '{extra}'" in str(caught.value)


def test_a_plugin_that_is_not_installed_is_named() -> None:
    installed = importlib.util.find_spec("panda_gym") is not None
    with pytest.raises(LilliputError) as caught:
        make_environment("PandaReach-v1")
    assert str(caught.value) == (
        "PandaReach-v1 is not registered; use PandaReach-v3"
        if installed
        else "PandaReach-v1 needs panda_gym, which is not installed: pip install panda-gym"
    )


def test_making_an_old_environment_is_silent_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    mujoco = pytest.importorskip("mujoco")
    monkeypatch.chdir(tmp_path)
    before = mujoco.get_mju_user_warning()
    make_environment("HalfCheetah-v4").reset(seed=0)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
    assert mujoco.get_mju_user_warning() is before


def test_spaces_as_plain_data() -> None:
    cart = make_environment("CartPole-v1")
    observed = observation_space_of(cart)
    assert isinstance(observed, spaces.Box)
    np.testing.assert_array_equal(observed.low, cart.observation_space.low)  # type: ignore[attr-defined]
    assert action_space_of(cart) == spaces.Discrete(2)
    with pytest.raises(LilliputError, match=r"FrozenLake-v1 has the space Discrete\(16\); .* --wrapper one_hot"):
        observation_space_of(make_environment("FrozenLake-v1"))
    with pytest.raises(LilliputError, match=r"Blackjack-v1 has the space Tuple.*; supported: Box"):
        observation_space_of(make_environment("Blackjack-v1"))


def test_bits_are_numbers_as_an_observation_alone() -> None:
    class Bits(gymnasium.Env):
        observation_space = gymnasium.spaces.MultiBinary((2, 3))
        action_space = gymnasium.spaces.MultiBinary(3)

    seen = observation_space_of(Bits())
    assert isinstance(seen, spaces.Box)
    assert (spaces.describe(seen), seen.dtype) == ("Box(0, 1, (2, 3), int8)", "int8")
    with pytest.raises(LilliputError, match="has the space MultiBinary"):
        action_space_of(Bits())


class Offset(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(0, 1, (1,))
    action_space: Any = gymnasium.spaces.Discrete(3, start=1)


def test_choices_that_do_not_start_at_0_are_refused() -> None:
    with pytest.raises(LilliputError, match="counted from 0"):
        action_space_of(Offset())


def test_a_policy_of_other_spaces_is_refused_naming_both() -> None:
    box = spaces.Box((3,), np.asarray(-1.0), np.asarray(1.0))
    cart = make_environment("CartPole-v1")
    with pytest.raises(LilliputError, match=r"observation space is Box\(-1, 1, \(3,\), float32\); CartPole-v1 has Box"):
        check_fit(box, spaces.Discrete(2), cart)
    four = spaces.Box((4,), np.asarray(-1.0), np.asarray(1.0))
    with pytest.raises(LilliputError, match=r"action space is Discrete\(3\); CartPole-v1 has Discrete\(2\)"):
        check_fit(four, spaces.Discrete(3), cart)
    check_fit(four, spaces.Discrete(2), cart)
    with pytest.raises(
        LilliputError, match=r"logits or Q-values, load it with action='discrete' \(--action discrete\)"
    ):
        check_fit(four, spaces.Box((2,), np.array(-np.inf), np.array(np.inf)), cart)


@pytest.mark.parametrize(
    ("name", "clean"), [("HalfCheetah-v4", True), ("CartPole-v1", True), ("LunarLander-v3", False), ("Nope-v0", False)]
)
def test_which_environments_are_reused(name: str, clean: bool) -> None:
    assert EnvironmentSpec(name).resets_cleanly is clean
