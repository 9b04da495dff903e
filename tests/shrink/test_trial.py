"""A trial's record: what played it (the reference, whatever the size; of images, C), and what is said of a cut one."""

import time
from pathlib import Path

import numpy as np
import pytest
from tests.policies.bright import BRIGHT, bright

from lilliput import record
from lilliput.errors import LilliputError
from lilliput.policies import layers, spaces
from lilliput.policies.learner import Checkpoint
from lilliput.policies.play import episode_returns
from lilliput.policies.policy import Policy
from lilliput.shrink.confirm import fixed
from lilliput.shrink.request import Place, Request
from lilliput.shrink.result import read_result
from lilliput.shrink.trial import attempt, known, play, seeds
from lilliput.study.policies import POLICIES
from lilliput.study.workspace import Workspace
from lilliput.task import Task


def wide() -> Policy:
    rng = np.random.default_rng(0)
    stack: list[layers.Layer] = []
    for inputs, outputs in ((3, 256), (256, 256), (256, 1)):
        weight = rng.normal(0, 1.5 / np.sqrt(inputs), (outputs, inputs)).astype(np.float32)
        stack += [layers.Dense(weight, rng.normal(0, 0.1, outputs).astype(np.float32)), layers.Tanh()]
    stack[-1:] = [layers.SquashAction(), layers.RescaleAction(np.array([2], np.float32), np.array([0], np.float32))]
    low = np.array([-1, -1, -8], np.float32)
    return Policy(
        spaces.Box((3,), low, -low),
        spaces.Box((1,), np.array([-2], np.float32), np.array([2], np.float32)),
        tuple(stack),
    )


@pytest.mark.parametrize("block", [1, 2, 5])
def test_returns_are_those_of_the_reference_however_many_play_at_once(block: int, tmp_path: Path) -> None:
    policy, request = wide(), Request(Task("Pendulum-v1"), train=False)
    played = play(Place(tmp_path, policy.digest, request), policy, None, 5, block=block)
    np.testing.assert_array_equal(played, episode_returns(policy, "Pendulum-v1", seeds(request.seed, 5)))


def test_what_was_played_is_not_played_again(tmp_path: Path) -> None:
    policy, request = wide(), Request(Task("Pendulum-v1"), train=False)
    place = Place(tmp_path, policy.digest, request)
    played = play(place, policy, None, 6, block=2, before=(7.0, 8.0, 9.0))
    np.testing.assert_array_equal(played[:3], [7, 8, 9])
    np.testing.assert_array_equal(played[3:], episode_returns(policy, "Pendulum-v1", seeds(request.seed, 6)[3:]))


@pytest.mark.parametrize("cut", ["", '{"record_format": 2, "dig', "[]", "{}", "\0"])
def test_a_cut_file_of_a_search_is_one_line_with_the_way_out(cut: str, tmp_path: Path) -> None:
    place = Place(tmp_path, wide().digest, Request(Task("Pendulum-v1")))
    place.here.records.mkdir()
    for path, read, way in (
        (place.here.records / "a.json", lambda: known(place), "remove it, and the same command measures that again"),
        (place.here.result, lambda: read_result(place.here.result), "remove it, and the same command goes on"),
        (place.here.confirmation, lambda: fixed(place, []), "--force to begin anew"),
    ):
        path.write_text(cut)
        with pytest.raises(LilliputError, match=way) as caught:
            read()
        assert "\n" not in str(caught.value)
        assert path.read_text() == cut


def test_of_images_the_c_artifact_plays_and_the_record_says_so(tmp_path: Path) -> None:
    policy, request = bright(), Request(Task(BRIGHT, wrappers=("transpose_image",)), train=False)
    POLICIES.keep(Checkpoint(policy), Workspace(tmp_path))
    place = Place(tmp_path, policy.digest, request)
    trial = attempt(place, "", time.time() + 3600, None, 4, block=3)
    np.testing.assert_array_equal(trial.returns, [20, 20, 20, 20])
    (found,) = record.read_all(tmp_path / "records")
    assert found.cell.format == "c"
    (returns,) = [one for one in found.measurements if one.quantity == "episode_return"]
    assert returns.method == f"measured: {BRIGHT}, played by its c artifact, one episode a seed"
    np.testing.assert_array_equal(known(place)[0][""].returns, trial.returns)
