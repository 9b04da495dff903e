import os
import signal
import subprocess
import sys

import pytest
from tests.study.test_processes import HOSTILE
from tests.study.test_study import study_file

from lilliput.study import local
from lilliput.study.cluster import Ray
from lilliput.study.conduct import conduct, records
from lilliput.study.document import read
from lilliput.study.plan import plan

IGNORE = lambda *_: None  # noqa: E731

pytest.importorskip("ray", reason="needs the extra ray")


@pytest.fixture(autouse=True)
def importable_by_ray(monkeypatch, tmp_path):
    import textwrap

    (tmp_path / "hostile.py").write_text(textwrap.dedent(HOSTILE))
    monkeypatch.syspath_prepend(tmp_path)
    paths = [str(tmp_path), *(p for p in sys.path if p)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_ray_finds_what_local_processes_find(balancer, tmp_path):
    path = study_file(tmp_path, balancer)
    study = read(path)
    found = []
    for name, executor in (("local", local.Local(1)), ("ray", Ray(2))):
        tally = conduct(study, plan(study), tmp_path / name, executor, IGNORE)
        assert (tally.done, tally.failed) == (5, 0)
        found.append([(r.cell, r.status, r.values("episode_return"), r.artifact) for r in records(tmp_path / name)])
        for record in records(tmp_path / name):
            assert not record.artifact or (tmp_path / name / record.artifact / "manifest.json").is_file()
    assert found[0] == found[1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_cell_that_hangs_or_kills_its_ray_worker_is_a_record(balancer, tmp_path):
    lines = ["cell_timeout = 25", "environments = ['CartPole-v1', 'hostile:Hangs-v0', 'hostile:Kills-v0']"]
    study = read(study_file(tmp_path, balancer, *lines, recipes=('"half()"',)))
    tally = conduct(study, plan(study), tmp_path / "out", Ray(2, 25.0), IGNORE)
    assert (tally.done, tally.failed) == (3, 6)
    reasons = {r.cell.task.id: r.reason for r in records(tmp_path / "out") if r.status == "failed"}
    assert "stopped after its time of 25 s" in reasons["hostile:Hangs-v0"]
    assert "ended 2 times" in reasons["hostile:Kills-v0"]


@pytest.mark.slow
def test_an_address_without_a_cluster_is_one_line(balancer, tmp_path):
    path = study_file(tmp_path, balancer)
    command = [sys.executable, "-m", "lilliput", "study", "run", str(path), "-o", str(tmp_path / "out")]
    process = subprocess.Popen(
        [*command, "--executor", "ray", "--address", "127.0.0.1:1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        _, stderr = process.communicate(timeout=150)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 1
    assert b"no Ray cluster at 127.0.0.1:1" in stderr
