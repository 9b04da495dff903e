"""What is tried without training, on policies that not every step is for."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tests.policies.bright import bright
from tests.policies.recurrent import gru, policy_with, walk
from tests.shrink.games import BALANCE, cartpole

from lilliput import record
from lilliput.cli import cli
from lilliput.policies import file as policy_file
from lilliput.policies import last_action, layers, spaces
from lilliput.policies.compress import Context, compress
from lilliput.policies.policy import Policy
from lilliput.shrink.ladder import first_steps, rungs


def test_a_rung_begins_with_what_the_policy_may_have_a_use_for() -> None:
    plain = cartpole()
    normalizer = layers.Standardize(*(np.full(n, value, np.float32) for n, value in ((4, 0), (4, 1), (4, 10))))
    normalized = replace(plain, layers=(normalizer, *plain.layers))
    box = spaces.Box((40,), np.full(40, -1.0), np.full(40, 1.0))
    wide = Policy(
        box, plain.action_space, (layers.Dense(np.ones((2, 40), np.float32), None), layers.ArgmaxAction((2,)))
    )
    assert first_steps(plain, ()) == ()
    assert first_steps(normalized, ()) == ("fold_inputs",)
    assert first_steps(normalized, ("prune_units",)) == ("fold_inputs",)
    assert first_steps(normalized, ("fold_inputs",)) == ()
    assert first_steps(wide, ()) == ("remove_dead_inputs",)
    assert first_steps(wide, ("remove_dead_inputs",)) == ()
    squares = spaces.Box((8, 5), np.full((8, 5), -1.0), np.full((8, 5), 1.0))
    board = replace(wide, observation_space=squares, layers=(layers.Flatten(), *wide.layers))
    assert first_steps(board, ()) == ("remove_dead_inputs",)
    assert first_steps(bright(), ()) == ("fold_inputs",), "images have no dead inputs"
    handed = last_action.remembering(policy_with(layers.Relu()), 0, 2)
    assert handed.has_memory
    assert first_steps(handed, ()) == ("fold_inputs",)  # all steps take what remembers nothing but that
    assert first_steps(policy_with(layers.History(2)), ()) == ()
    every = rungs(("fold_inputs",), ())
    assert all(recipe.startswith("fold_inputs() | ") for recipe in every)
    assert rungs(("fold_inputs",), every[:3]) == every[3:]


def test_of_a_policy_that_remembers_only_that_is_tried_which_takes_it() -> None:
    policy = policy_with(gru(np.random.default_rng(0), 5, 6))
    every = rungs(first_steps(policy, ()), (), remembers=True)
    sizes = [
        compress(policy, recipe, Context.from_observations(policy, walk(policy, 60))).model_bytes for recipe in every
    ]
    assert len(sizes) > 2
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.slow
def test_a_linear_policy_behind_a_normalizer_that_clips_is_tried_without_them(tmp_path: Path) -> None:
    """No unit to prune, nothing to fold: both are told of, and neither ends the search."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("plotly")
    gain = np.array([0.1, 0.5, 3.0, 1.5], np.float32)
    plain = cartpole()
    normalizer = layers.Standardize(*(np.array(v, np.float32) for v in ([0] * 4, [1] * 4, [0.5, 0.1, 0.05, 0.1])))
    linear = layers.Dense(np.stack([-gain, gain]), np.zeros(2, np.float32))
    policy_file.write(
        replace(plain, layers=(normalizer, linear, layers.ArgmaxAction((2,)))), tmp_path / "linear.lilliput"
    )
    command = [
        "shrink", str(tmp_path / "linear.lilliput"), "--env", BALANCE, "--keep", "0.8", "--within", "1h",
        "--no-training", "--format", "onnx", "--json", "-o", str(tmp_path / "small"),
    ]  # fmt: skip
    done = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["n_trials"] > 3
    records = list(record.read_all(tmp_path / "small" / "records"))
    assert {r.reason.partition(":")[0] for r in records if r.reason} == {"fold_inputs", "prune_units"}
    assert any(r.cell.recipe.startswith("quantize(") and r.status == "done" for r in records)
    assert "no hidden units" in (tmp_path / "small" / "report.html").read_text()
