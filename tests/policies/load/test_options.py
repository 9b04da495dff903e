"""What the user says of a file: taken where the file is silent, refused where it is not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lilliput.errors import LilliputError
from lilliput.policies.load import load_policy
from lilliput.policies.load.options import Options


def test_an_answer_that_the_file_gives_itself_is_refused(example_policies: Path) -> None:
    source = next(iter(sorted(example_policies.glob("*/*.zip"))))
    with pytest.raises(LilliputError, match="needs no activation and no action_low and no action_high to be"):
        load_policy(source, activation="relu", action_low=-1.0, action_high=1.0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"activation": "swoosh"}, "activation is 'swoosh'; it must be relu or tanh or elu"),
        ({"action": "sampled"}, "action is 'sampled'; it must be discrete or continuous or tanh"),
        ({"low": -1.0}, "one bound of the action is given; give both"),
    ],
)
def test_answers_that_cannot_be(given: dict[str, Any], message: str) -> None:
    with pytest.raises(LilliputError, match=message):
        Options(**given)


def test_what_is_asked_and_not_answered_names_the_option() -> None:
    options = Options()
    with pytest.raises(LilliputError, match=r"'x.pt' does not say which activation .*; give --activation relu\|tanh"):
        options.activation_layers("'x.pt'")
    with pytest.raises(LilliputError, match=r"how its outputs become an action .*; give --action discrete"):
        options.kind_of_action("'x.pt'")
    with pytest.raises(LilliputError, match=r"bounds of its 3 actions; name the environment with --env, or give"):
        options.action_space(3, "'x.pt'")


def test_bounds_are_one_number_or_one_an_action() -> None:
    space, said = Options(low=-2.0, high=(1.0, 2.0)).action_space(2, "'x.pt'")
    np.testing.assert_array_equal(space.low, [-2.0, -2.0])
    np.testing.assert_array_equal(space.high, [1.0, 2.0])
    assert said == "the bounds of the action are not in the file: as given"
    with pytest.raises(LilliputError, match="has 3 numbers; the policy has 2 actions"):
        Options(low=(0.0, 0.0, 0.0), high=1.0).action_space(2, "'x.pt'")
    with pytest.raises(LilliputError, match="action_low is not below action_high"):
        Options(low=1.0, high=1.0).action_space(2, "'x.pt'")


def test_bounds_of_the_environment() -> None:
    options = Options(environment="Pendulum-v1")
    space, said = options.action_space(1, "'x.pt'")
    assert (space.low.tolist(), space.high.tolist()) == ([-2.0], [2.0])
    assert said == "the bounds of the action are not in the file: those of Pendulum-v1"
    with pytest.raises(LilliputError, match="gives 2 actions; Pendulum-v1 takes Box"):
        options.action_space(2, "'x.pt'")
    with pytest.raises(LilliputError, match=r"gives real actions; CartPole-v1 takes Discrete\(2\)"):
        Options(environment="CartPole-v1").action_space(1, "'x.pt'")


def test_wrappers_that_were_given_stand_instead_of_the_source_s(example_policies: Path) -> None:
    source = next(iter(sorted(example_policies.glob("*/*.zip"))))
    assert load_policy(source, wrappers=["frame_stack(2)"]).provenance.wrappers == ("frame_stack(n_stack=2)",)
    with pytest.raises(LilliputError, match="wrapper 'frames' is not known"):
        load_policy(source, wrappers=["frames"])
