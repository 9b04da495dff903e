import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest
from tests.study.test_processes import HOSTILE, cell
from tests.study.test_study import study_file

from lilliput.errors import LilliputError
from lilliput.policies.learner import Checkpoint
from lilliput.study import local
from lilliput.study.cluster import Ray
from lilliput.study.conduct import conduct, records
from lilliput.study.document import read_study
from lilliput.study.plan import plan
from lilliput.study.policies import POLICIES
from lilliput.study.training import cells_of, waiting
from lilliput.study.workspace import Workspace

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
    study = read_study(path)
    found = []
    for name, executor in (("local", local.Local(1)), ("ray", Ray(2))):
        tally = conduct(study, plan(study), tmp_path / name, executor, IGNORE)
        assert (tally.done, tally.failed) == (6, 0)
        found.append([(r.cell, r.status, r.values("episode_return"), r.artifact) for r in records(tmp_path / name)])
        for record in records(tmp_path / name):
            assert not record.artifact or (tmp_path / name / record.artifact / "manifest.json").is_file()
    assert found[0] == found[1]


@pytest.mark.slow
@pytest.mark.longest
@pytest.mark.filterwarnings("ignore")
def test_a_cell_that_hangs_or_kills_its_ray_worker_is_a_record(balancer, tmp_path):
    POLICIES.keep(Checkpoint(balancer), Workspace(tmp_path))
    hostile = [cell(balancer, environment=f"hostile:{name}-v0") for name in ("Hangs", "Kills")]
    cells = [*hostile, cell(balancer), cell(balancer, "half()")]
    found = {r.cell: r for r in Ray(2, 60.0).run_all(cells, tmp_path, IGNORE)}
    assert [found[c].status for c in cells] == ["failed", "failed", "done", "done"]
    assert found[cells[0]].reason == "stopped after its time of 60 s a cell"
    assert "ended 2 times" in found[cells[1]].reason
    assert local.split(cells, tmp_path, retry_failed=False)[1] == []


@pytest.mark.slow
@pytest.mark.frameworks
@pytest.mark.filterwarnings("ignore")
def test_ray_trains_to_the_bits_of_local_processes_and_says_why_one_failed(tmp_path):
    pytest.importorskip("stable_baselines3")
    small = {"n_steps": 32, "batch_size": 32, "n_envs": 1, "n_epochs": 1, "learning_rate": 0.001, "clip_range": 0.2}
    asked = {"algorithm": "ppo", "environment": "CartPole-v1", "steps": 64, "segment": 64, "episodes": 1,
             "hidden": [4], "settings": small, "seeds": [0, 1]}  # fmt: skip
    trained: list[list[bytes]] = []
    for name, executor in (("local", local.Local(1)), ("ray", Ray(2))):
        cells = cells_of({**asked, "folder": "good"}, tmp_path / name)
        bad = cells_of({**asked, "folder": "bad", "algorithm": "sac", "settings": {}, "seeds": [0]}, tmp_path / name)
        reasons = {cell.folder: reason for cell, reason in executor.train_all([*cells, *bad])}
        assert [reasons[cell.folder] for cell in cells] == ["", ""]
        assert "sac plays continuous actions" in reasons[bad[0].folder]
        assert not waiting(cells)
        assert waiting(bad) == bad
        assert not (cells[0].folder / "replay").exists()
        trained.append([cell.policy.read_bytes() for cell in cells])
    assert trained[0] == trained[1]
    assert trained[0][0] != trained[0][1]


@pytest.mark.slow
def test_an_address_without_a_cluster_is_one_line(balancer, tmp_path):
    path = study_file(tmp_path, balancer)
    command = [sys.executable, "-m", "lilliput", "study", "run", str(path), "-o", str(tmp_path / "out")]
    process = subprocess.Popen(
        [*command, "--executor", "ray", "--address", "127.0.0.1:1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        _, stderr = process.communicate(timeout=600)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 1
    assert b"no Ray cluster at 127.0.0.1:1" in stderr


def test_a_cluster_that_does_not_start_in_time_is_one_line(monkeypatch):
    def init(**_):
        raise Exception("The current node timed out during startup. This could happen because ...\nmore")

    monkeypatch.setattr("ray.init", init)
    with pytest.raises(LilliputError, match=r"no Ray cluster starts here: The current node timed out .*; the same"):
        Ray(1)._cluster().__enter__()


SLOW = """
    import os, pathlib, time
    import gymnasium
    from gymnasium.envs.classic_control.cartpole import CartPoleEnv

    class Slow(CartPoleEnv):
        def reset(self, **kwargs):
            time.sleep(0.1)
            return super().reset(**kwargs)

    class Marks(CartPoleEnv):
        def step(self, action):
            pathlib.Path(os.environ["LILLIPUT_TEST_MARKS"], str(os.getpid())).touch()
            time.sleep(1000)

    gymnasium.register("Slow-v0", Slow, max_episode_steps=50)
    gymnasium.register("Marks-v0", Marks)
"""


@pytest.fixture(scope="module")
def head():
    """A head node without a core, from which studies are run."""
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    yield found
    found.shutdown()


@pytest.fixture
def cluster(head, odd):
    """The head node; the nodes that work are added by the test, and see what it made importable."""
    yield head
    for node in list(head.worker_nodes):
        head.remove_node(node)


@pytest.fixture
def odd(tmp_path, monkeypatch):
    """Makes slow environments, and those that mark which process plays them, importable."""
    import textwrap

    (tmp_path / "odd.py").write_text(textwrap.dedent(SLOW))
    (tmp_path / "marks").mkdir()
    monkeypatch.setenv("LILLIPUT_TEST_MARKS", str(tmp_path / "marks"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_study_outlives_the_nodes_that_work_and_uses_those_that_join(balancer, tmp_path, cluster, capfd):
    recipes = ("'quantize(scheme=\"weight_only\", weight_bits=[2, 3, 4, 5, 6, 7, 8])'", '"half()"')
    study = read_study(study_file(tmp_path, balancer, "environments = ['odd:Slow-v0']", recipes=recipes))
    expected = conduct(study, plan(study), tmp_path / "local", local.Local(1), IGNORE)
    doomed = [cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)]
    when = {2: doomed[0], 5: doomed[1]}

    def kill(tally, record):
        node = when.pop(tally.done, None) if record is not None else None
        if node is not None:
            cluster.remove_node(node, allow_graceful=False)
            if not when:  # for a moment no node is left that works
                cluster.add_node(num_cpus=2)

    capfd.readouterr()
    tally = conduct(study, plan(study), tmp_path / "ray", Ray(address=cluster.address), kill)
    said = capfd.readouterr()
    assert not when
    assert (tally.done, tally.failed) == (expected.done, 0) == (11, 0)
    assert outcomes(tmp_path / "ray") == outcomes(tmp_path / "local")
    assert (said.out, said.err) == ("", "")


def outcomes(folder):
    return [(r.cell, r.status, r.values("episode_return"), r.artifact) for r in records(folder)]


def is_alive(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("own", [False, True])
def test_a_driver_that_ends_leaves_no_work_running(balancer, tmp_path, odd, request, signal_, own):
    path = study_file(tmp_path, balancer, "environments = ['odd:Marks-v0']", recipes=('"half()"',))
    command = [sys.executable, "-m", "lilliput", "study", "run", str(path), "-o", str(tmp_path / "out"), "--executor"]
    if own:
        command += ["ray", "--workers", "1"]
    else:
        cluster = request.getfixturevalue("cluster")
        cluster.add_node(num_cpus=1)
        command += ["ray", "--address", cluster.address]
    marks, log = tmp_path / "marks", tmp_path / "log"
    with log.open("wb") as stderr, subprocess.Popen(command, start_new_session=True, stderr=stderr) as driver:
        while not list(marks.iterdir()):
            assert driver.poll() is None, log.read_text()
            time.sleep(0.2)
        driver.send_signal(signal_)
        driver.wait(timeout=600)
    pids = [int(mark.name) for mark in marks.iterdir()]
    for _ in range(600):
        if not any(map(is_alive, pids)):
            break
        time.sleep(0.2)
    assert not any(map(is_alive, pids))
    assert len(list(marks.iterdir())) == len(pids)
