"""What a checkpoint has of its learner: refused where it does not fit, kept in files, no part of the policy."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.arrays import f32

from lilliput.errors import LilliputError
from lilliput.policies import file, layers, reference, spaces
from lilliput.policies.layers import Layer
from lilliput.policies.learner import Checkpoint, Learner
from lilliput.policies.policy import Policy

BOX = spaces.Box((2,), np.array(-1.0), np.array(1.0))
SEEN = spaces.Box((2,), np.array(-np.inf), np.array(np.inf))


def policy(action_space: spaces.Box = BOX) -> Policy:
    return Policy(SEEN, action_space, (layers.Dense(np.ones((action_space.size, 2), np.float32), None),))


def judged(*critic: Layer) -> Checkpoint:
    """One action on two inputs, and a critic of those layers."""
    return Checkpoint(policy(spaces.Box((1,), np.array(-1.0), np.array(1.0))), Learner(critic))


def test_a_learner_comes_back_and_is_no_part_of_the_digest(tmp_path: Path) -> None:
    critic = (layers.Dense(f32([[1, 2, 3], [4, 5, 6]]), f32([7, 8])), layers.Relu(), layers.Dense(f32([[9, 1]]), None))
    whole = Checkpoint(judged().policy, Learner(critic, (0.25,)))
    file.write(whole, tmp_path / "a.lilliput")
    again = file.read_checkpoint(tmp_path / "a.lilliput")
    assert again.digest == whole.digest == file.read(tmp_path / "a.lilliput").digest
    assert again.learner.action_std == (0.25,)
    x = f32([[1, -2, 3], [0, 1, -1]])
    expected, found = x, x
    for old, new in zip(critic, again.learner.critic, strict=True):
        expected, found = reference.apply(old, expected), reference.apply(new, found)
    np.testing.assert_array_equal(found, expected)


def test_files_hold_it_where_they_always_did(tmp_path: Path) -> None:
    """The keys of a release before this one: `critic`, and the spread in `provenance`."""
    critic = (layers.Dense(f32([[1, 2, 3]]), None),)
    file.write(Checkpoint(judged().policy, Learner(critic, (0.25,))), tmp_path / "a.lilliput")
    data = (tmp_path / "a.lilliput").read_bytes()
    header = json.loads(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]["lilliput"])
    assert header["provenance"]["action_std"] == [0.25]
    assert [layer["kind"] for layer in header["critic"]] == ["Dense"]


def test_a_file_of_a_release_that_had_it_inside_the_policy_is_read() -> None:
    old = file.read_checkpoint(Path(__file__).parent / "fixtures" / "learner_inside.lilliput")
    assert old.digest.startswith("a6ff1623a0d8e4fe")
    assert old.provenance.source == "old.zip"
    assert old.learner.action_std == (0.25,)
    assert [type(layer) for layer in old.learner.critic] == [layers.Dense, layers.Relu, layers.Dense]


@pytest.mark.parametrize(
    ("weight", "message"),
    [([[1, 2]], "critic: layer 0"), ([[1, 2, 3], [4, 5, 6]], "it gives"), ([[1, 2, np.nan]], "not finite")],
)
def test_a_critic_that_cannot_be_is_refused(weight: list[list[float]], message: str) -> None:
    with pytest.raises(LilliputError, match=message):
        judged(layers.Dense(f32(weight), None))


def test_a_critic_of_choices_is_refused() -> None:
    choices = Policy(SEEN, spaces.Discrete(2), (*policy().layers, layers.ArgmaxAction((2,))))
    with pytest.raises(LilliputError, match="bounded actions on a vector"):
        Checkpoint(choices, Learner((layers.Dense(f32([[1, 2, 3]]), None),)))
    with pytest.raises(LilliputError, match="action_std must be a positive number for every action"):
        Checkpoint(choices, Learner(action_std=(1.0,)))


@pytest.mark.parametrize("spread", [(0.1,), (0.1, 0.0), (0.1, float("nan")), (float("inf"), 1.0)])
def test_a_spread_of_the_actions_is_a_positive_number_for_each(spread: tuple[float, ...]) -> None:
    with pytest.raises(LilliputError, match="action_std must be a positive number for every action"):
        Checkpoint(policy(), Learner(action_std=spread))
    assert Checkpoint(policy(), Learner(action_std=(0.1, 2.0))).learner.action_std == (0.1, 2.0)
