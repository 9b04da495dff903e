"""The names that a script uses: what the command line does, from Python."""

import dataclasses
import inspect
from pathlib import Path

import pytest
from tests.shrink.counted import AN_HOUR_S, end_after, trials

import lilliput
from lilliput.cli import cli
from lilliput.policies import spaces
from lilliput.shrink.request import Request
from lilliput.study.compare import Comparison

EXAMPLES = Path(__file__).parent.parent / "examples" / "policies"


@pytest.fixture(scope="module")
def pendulum() -> lilliput.Policy:
    return lilliput.load_policy(EXAMPLES / "sac-Pendulum-v1")


def test_compare_leaves_what_the_command_leaves(pendulum: lilliput.Policy, tmp_path: Path) -> None:
    found = lilliput.compare(pendulum, ["half()"], tmp_path / "c", "Pendulum-v1", episodes=3, timings=False, workers=1)
    baseline, candidate = (row for row in found.rows if row.format == "c")
    assert (baseline.recipe, candidate.recipe) == ("", "half()")
    assert baseline.mean_return is not None
    assert candidate.smaller == pytest.approx(2, abs=0.1)
    assert not found.failed
    assert "half()" in found.table()
    assert {"table.md", "table.json", "report.csv"} <= {path.name for path in (tmp_path / "c").iterdir()}
    assert (tmp_path / "c" / "report.html").exists() is not bool(found.left_out)
    again = lilliput.compare(pendulum, ["half()"], tmp_path / "c", "Pendulum-v1", episodes=3, timings=False, workers=1)
    assert again.rows == found.rows


@pytest.mark.slow
@pytest.mark.longest
def test_shrink_leaves_what_the_command_leaves(
    pendulum: lilliput.Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_after(monkeypatch, trials(1))
    said: list[str] = []
    found = lilliput.shrink(
        pendulum, tmp_path / "s", "Pendulum-v1", keep=0.9, within_s=AN_HOUR_S, train=False, workers=1, say=said.append
    )
    assert found.bytes <= found.baseline_bytes == pendulum.model_bytes
    assert said
    assert isinstance(pendulum.observation_space, spaces.Box)
    assert lilliput.open_artifact(tmp_path / "s" / "artifact")(pendulum.observation_space.low).shape == (1,)
    assert lilliput.shrink(pendulum, tmp_path / "s", "Pendulum-v1", keep=0.9, train=False) == found


def test_a_request_that_cannot_be_is_refused_before_anything_is_written(
    pendulum: lilliput.Policy, tmp_path: Path
) -> None:
    with pytest.raises(lilliput.LilliputError, match="keep is 2"):
        lilliput.shrink(pendulum, tmp_path / "s", "Pendulum-v1", keep=2.0)
    with pytest.raises(lilliput.LilliputError, match="recipe"):
        lilliput.compare(pendulum, ["nothing("], tmp_path / "c", "Pendulum-v1")
    assert not list(tmp_path.iterdir())


def test_whatever_can_be_asked_can_be_asked_from_python() -> None:
    fields = {one.name for one in dataclasses.fields(Request)} - {"task"}
    assert fields <= set(inspect.signature(lilliput.shrink).parameters)
    fields = {one.name.removeprefix("n_") for one in dataclasses.fields(Comparison)} - {"task", "wing"}
    assert fields <= set(inspect.signature(lilliput.compare).parameters)


def test_every_command_on_a_policy_has_a_name_in_python() -> None:
    others = {"demo", "measure", "show", "study"}  # a folder of examples; a target, numbers and files to look at
    assert set(cli.commands) - others <= set(lilliput.__all__)


def test_the_names_are_functions_after_their_modules_were_loaded() -> None:
    import lilliput.compare
    import lilliput.shrink.run

    assert callable(lilliput.compare)
    assert callable(lilliput.shrink)
