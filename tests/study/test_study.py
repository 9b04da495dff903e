import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.shrink.games import BALANCE
from tests.study.waiting import WAITS

from lilliput.cli import cli
from lilliput.errors import LilliputError
from lilliput.policies import file as policy_file
from lilliput.study.conduct import conduct, records, tally_of
from lilliput.study.document import read_study
from lilliput.study.local import Local
from lilliput.study.plan import plan

ROOT = Path(__file__).parents[2]
IGNORE = lambda *_: None  # noqa: E731
SHORT = f"environments = '{BALANCE}'"


def study_file(folder, balancer, *lines, recipes=('"half()"', '"prune_units(ratio=[0.25, 0.5])"')):
    (folder / "balancer.lilliput").unlink(missing_ok=True)
    policy_file.write(balancer, folder / "balancer.lilliput")
    path = folder / "study.toml"
    asked = ["title = 'balance'", "policies = ['*.lilliput']", f"recipes = [{', '.join(recipes)}]"]
    path.write_text("\n".join([*asked, "formats = ['onnx']", "episodes = 3", *lines]))
    return path


def ran(path, folder, **options):
    study = read_study(path)
    return conduct(study, plan(study), folder, Local(1), IGNORE, text=path.read_text(), **options)


def test_the_cells_are_the_product_with_one_baseline_and_one_random_policy(balancer, tmp_path):
    path = study_file(tmp_path, balancer, "compression_seeds = [0, 1]", "quantities = ['episode_return', 'latency_s']")
    planned = plan(read_study(path))
    assert len(planned.cells) == len(set(planned.cells)) == 1 + 2 + 3 * 2
    assert [(c.recipe, c.format) for c in planned.cells[:3]] == [("", "none"), ("", "onnx"), ("", "reference")]
    assert planned.cells[0].is_floor
    assert {c.items for c in planned.cells} == {planned.cells[0].items}
    assert len(planned.timings) == 7
    assert {t.quantities for _, t in planned.timings} == {("latency_s", "baseline_latency_s")}


def test_exclusions_leave_cells_out(balancer, tmp_path):
    path = study_file(tmp_path, balancer, "[[exclude]]", 'recipe = "prune_units*"', 'environment = "cartpole*"')
    assert {c.recipe for c in plan(read_study(path)).cells} == {"", "half()"}
    assert plan(read_study(path)).notes == ()
    idle = study_file(tmp_path, balancer, "[[exclude]]", 'policy = "nobody*"')
    (note,) = plan(read_study(idle)).notes
    assert note.endswith('study.toml, line 6: exclude: no cell matches policy = "nobody*"; nothing is left out by it')
    everything = study_file(tmp_path, balancer, "[[exclude]]", 'recipe = "*"')
    with pytest.raises(LilliputError, match=r"nothing to do; .* everything is excluded"):
        plan(read_study(everything))


def test_a_cut_record_is_said_and_its_cell_runs_again(balancer, tmp_path):
    path, out = study_file(tmp_path, balancer, SHORT, recipes=('"half()"',)), tmp_path / "out"
    ran(path, out)
    victim = sorted((out / "records").iterdir())[0]
    whole = victim.read_text()
    victim.write_text(whole[: len(whole) // 2])
    with pytest.raises(LilliputError, match=r"cut or damaged: .*; run the study again, which measures that cell anew"):
        tally_of(out)
    (said,) = ran(path, out).again
    assert said.startswith(f"measured again, since its record could not be read: {victim} is not a record")
    values = [[one["values"] for one in json.loads(text)["measurements"]] for text in (whole, victim.read_text())]
    assert values[0] == values[1]
    assert ran(path, out).again == ()
    (out / "lilliput.json").write_text("")
    with pytest.raises(
        LilliputError, match=r"lilliput.json is damaged: whether .* holds a study cannot be told; .*--force"
    ):
        ran(path, out)
    assert ran(path, out, force=True).ran == 0


def test_a_policy_whose_environment_is_gone_wants_it_named(balancer, tmp_path):
    import dataclasses

    old = dataclasses.replace(
        balancer, provenance=dataclasses.replace(balancer.provenance, environment="LunarLander-v2")
    )
    with pytest.raises(LilliputError, match=r'"LunarLander-v2" = "LunarLander-v3"'):
        plan(read_study(study_file(tmp_path, old)))
    path = study_file(tmp_path, old, "[environments]", '"LunarLander-v2" = "CartPole-v1"')
    assert {c.task.id for c in plan(read_study(path)).cells} == {"CartPole-v1"}
    wrong = study_file(tmp_path, old, "environments = 'Acrobot-v1'")
    with pytest.raises(LilliputError, match=r"environments: .*observation space"):
        plan(read_study(wrong))


def test_of_several_environments_a_policy_plays_those_that_it_fits(balancer, tmp_path):
    path = study_file(tmp_path, balancer, "environments = ['Acrobot-v1', 'CartPole-v0', 'CartPole-v1']")
    assert {c.task.id for c in plan(read_study(path)).cells} == {"CartPole-v0", "CartPole-v1"}


def test_missing_policies_are_said_with_the_line(balancer, tmp_path, monkeypatch):
    path = study_file(tmp_path, balancer)
    path.write_text(path.read_text().replace("*.lilliput", "nothing*"))
    with pytest.raises(LilliputError, match=r"line 2: policies: nothing there is named nothing\*"):
        plan(read_study(path))
    monkeypatch.delenv("NO_SUCH_FOLDER", raising=False)
    path.write_text(path.read_text().replace("nothing*", "$NO_SUCH_FOLDER/a"))
    with pytest.raises(LilliputError, match="the environment variable is not set"):
        plan(read_study(path))


def test_a_changed_recipe_redoes_its_cells_alone_and_the_report_forgets_the_old(balancer, tmp_path):
    path, out = study_file(tmp_path, balancer, SHORT), tmp_path / "out"
    first = ran(path, out)
    assert (first.total, first.done, first.not_applicable, first.to_go, first.ran) == (6, 6, 0, 0, 6)
    assert ran(path, out).ran == 0
    changed = study_file(
        tmp_path, balancer, SHORT, recipes=('"half()"', '"prune_units(ratio=0.5, importance=\\"l2\\")"')
    )
    assert ran(changed, out).ran == 1
    assert len(list((out / "records").iterdir())) == 7
    assert {r.cell.recipe for r in records(out)} == {"", "half()", 'prune_units(ratio=0.5, importance="l2")'}
    assert tally_of(out).to_go == 0


def test_failed_cells_are_kept_until_they_are_wanted_again(balancer, tmp_path):
    path, out = study_file(tmp_path, balancer, SHORT), tmp_path / "out"
    ran(path, out)
    (victim,) = [r for r in records(out) if r.cell.recipe == "half()"]
    file = out / "records" / f"{victim.cell.digest}.json"
    data = json.loads(file.read_text())
    file.write_text(json.dumps({**data, "status": "failed", "reason": "gremlins", "measurements": []}))
    again = ran(path, out)
    assert (again.ran, again.failed) == (0, 1)
    assert ran(path, out, retry_failed=True).ran == 1
    assert tally_of(out).failed == 0


def test_an_environment_that_is_not_there_is_said_with_its_line(balancer, tmp_path):
    path = study_file(tmp_path, balancer, "environments = 'CartPole-v7'")
    with pytest.raises(LilliputError, match=r"study\.toml, line 6: environments: .*balancer.lilliput: CartPole-v7"):
        plan(read_study(path))


def test_a_folder_has_one_run_at_a_time(balancer, tmp_path):
    import fcntl

    path, out = study_file(tmp_path, balancer, SHORT), tmp_path / "out"
    out.mkdir()
    (out / "lilliput.json").write_text('{"kind": "study", "format": 1}')
    with (out / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(LilliputError, match="another run is at work"):
            ran(path, out)


def test_the_command_line_runs_tells_and_reports(balancer, tmp_path):
    path, out = study_file(tmp_path, balancer, SHORT, "cell_timeout = 0"), tmp_path / "out"

    def call(*arguments):
        result = CliRunner().invoke(cli, ["study", *map(str, arguments)], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result

    dry = json.loads(call("run", path, "-o", out, "--dry-run", "--json").stdout)
    assert (dry["cells"], dry["to_go"]) == (6, 6)
    assert dry["seconds"] > 0
    assert dry["disk_bytes"] > 100_000
    assert not out.exists()
    assert json.loads(call("run", path, "--dry-run", "--json").stdout)["to_go"] == 6
    homeless = CliRunner().invoke(cli, ["study", "run", str(path)])
    assert (homeless.exit_code, "Missing option '-o'" in homeless.output) == (2, True)
    run = call("run", path, "-o", out, "--workers", 1, "--json")
    assert json.loads(run.stdout)["done"] == 6
    assert json.loads(run.stderr.splitlines()[-1])["to_go"] == 0
    status = json.loads(call("status", out, "--json").stdout)
    assert (status["done"], status["to_go"], status["failures"]) == (6, 0, {})
    assert "6 of 6 cells done\nsurely kept so far: none" in call("status", out).stdout
    (out / "report.csv").unlink()
    call("report", out)
    lines = (out / "report.csv").read_text().splitlines()
    assert len(lines) == 1 + 5
    assert "half()" in (out / "report.csv").read_text()


def run_here(path, out):
    """Run the command in this process: another one would import all of it again."""
    command = ["study", "run", str(path), "--workers", "1", "-o", str(out)]
    result = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output


@pytest.mark.slow
def test_the_driver_killed_half_way_loses_nothing_and_ends_in_the_same_table(balancer, tmp_path):
    sparsities = ("'prune_weights(sparsity=0.1..0.6 step 0.1)'",)
    path = study_file(tmp_path, balancer, "cell_timeout = 0", f"environments = ['{WAITS}']", recipes=sparsities)
    path.write_text(path.read_text().replace("episodes = 3", "episodes = 10"))
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    command = [sys.executable, "-m", "lilliput", "study", "run", str(path), "--workers", "2", "-o", str(cut)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    while len(list((cut / "records").glob("*.json"))) < 3:
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    finished = {p: p.stat().st_mtime_ns for p in (cut / "records").glob("*.json")}
    assert 3 <= len(finished) < 8
    run_here(path, cut)
    run_here(path, whole)
    assert {p: p.stat().st_mtime_ns for p in finished} == finished
    assert (cut / "report.csv").read_text() == (whole / "report.csv").read_text()


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="needs to mount a small disk, as root")
def test_a_full_disk_stops_in_one_line_and_makes_no_cell_fail(balancer, tmp_path):
    disk, whole = tmp_path / "disk", tmp_path / "whole"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=120k", "tmpfs", disk], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        recipes = ("'prune_weights(sparsity=0.1..0.8 step 0.1)'",)
        path = study_file(tmp_path, balancer, "cell_timeout = 0", recipes=recipes)
        command = [sys.executable, "-m", "lilliput", "study", "run", str(path), "--workers", "2", "-o"]
        full = subprocess.run([*command, str(disk / "out")], capture_output=True, text=True, check=False)
        assert full.returncode == 1
        assert "No space left on device" in full.stderr.splitlines()[-1]
        assert "Traceback" not in full.stderr
        finished = list((disk / "out" / "records").glob("*.json"))
        assert 0 < len(finished) < 10
        assert {json.loads(file.read_text())["status"] for file in finished} == {"done"}
        subprocess.run(["mount", "-o", "remount,size=30M", disk], check=True)
        run_here(path, disk / "out")
        run_here(path, whole)
        assert (disk / "out" / "report.csv").read_text() == (whole / "report.csv").read_text()
    finally:
        subprocess.run(["umount", disk], check=True)
