import multiprocessing
import os
import signal
import textwrap
import threading
import time

import numpy as np
import pytest

from lilliput.errors import LilliputError
from lilliput.policies import file as policy_file
from lilliput.policies import layers, spaces
from lilliput.policies.learner import NOTHING, Checkpoint, Learner
from lilliput.policies.policy import Policy
from lilliput.record import Cell, Record, write
from lilliput.study import local
from lilliput.study.policies import POLICIES
from lilliput.study.workspace import Workspace
from lilliput.task import Task

SILENT = lambda *_: None  # noqa: E731

HOSTILE = """
    import os, signal, time
    import gymnasium
    from gymnasium.envs.classic_control.cartpole import CartPoleEnv

    class Hangs(CartPoleEnv):
        def step(self, action):
            time.sleep(1000)

    class Kills(CartPoleEnv):
        def step(self, action):
            os.kill(os.getpid(), signal.SIGKILL)

    gymnasium.register("Hangs-v0", Hangs)
    gymnasium.register("Kills-v0", Kills)
"""


@pytest.fixture
def folder(balancer, tmp_path, monkeypatch):
    (tmp_path / "hostile.py").write_text(textwrap.dedent(HOSTILE))
    monkeypatch.syspath_prepend(tmp_path)
    POLICIES.keep(Checkpoint(balancer), Workspace(tmp_path))
    return tmp_path


def test_a_folder_s_copy_of_a_policy_learns_what_another_source_of_it_tells(tmp_path):
    space = spaces.Box((2,), np.full(2, -1.0), np.full(2, 1.0))
    layer, critic = (layers.Dense(np.ones((2 - i, 2 + 2 * i), np.float32), None) for i in (0, 1))
    bare = Policy(space, space, (layer,))
    path = tmp_path / "policies" / f"{bare.digest}.lilliput"
    drawn, judged = Learner(action_std=(0.5, 0.5)), Learner((critic,), (0.5, 0.5))
    for told, kept in ((NOTHING, NOTHING), (drawn, drawn), (judged, judged), (drawn, judged), (NOTHING, judged)):
        POLICIES.keep(Checkpoint(bare, told), Workspace(tmp_path))
        found = policy_file.read_checkpoint(path).learner
        assert (bool(found.critic), found.action_std) == (bool(kept.critic), kept.action_std)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def cell(policy, recipe="", environment="CartPole-v1", episodes=3):
    quantities = ("episode_return", "model_bytes")
    return Cell(policy.digest, recipe, Task(environment), tuple(range(episodes)), format="onnx", quantities=quantities)


@pytest.mark.slow
def test_a_cell_that_hangs_or_kills_its_worker_ends_as_a_record_and_the_others_go_on(balancer, folder):
    cells = [
        cell(balancer, environment="hostile:Hangs-v0"),
        cell(balancer, environment="hostile:Kills-v0"),
        cell(balancer),
        cell(balancer, "half()"),
    ]
    found = {r.cell: r for r in local.Local(2, timeout=30.0).run_all(cells, folder, SILENT)}
    assert [found[c].status for c in cells] == ["failed", "failed", "done", "done"]
    assert found[cells[0]].reason == "stopped after its time of 30 s a cell"
    assert "ended 2 times (signal 9)" in found[cells[1]].reason
    finished, missing = local.split(cells, folder, retry_failed=False)
    assert (len(finished), missing) == (4, [])
    assert local.split(cells, folder, retry_failed=True)[1] == cells[:2]
    assert not multiprocessing.active_children()


def test_one_record_after_the_other_is_read_so_that_a_large_study_that_goes_on_holds_none(tmp_path):
    cells = [Cell("d" * 64, f"prune_weights(sparsity=0.{k})", Task("CartPole-v1")) for k in (1, 2, 3)]
    for one in cells:
        write(Record(one, "done"), Workspace(tmp_path).records)
    found = local.with_records(cells, tmp_path, retry_failed=False)
    assert next(found) == (cells[0], Record(cells[0], "done"))
    Workspace(tmp_path).record(cells[1].digest).unlink()
    assert [there is not None for _, there in found] == [False, True]


@pytest.mark.slow
def test_a_worker_killed_from_outside_costs_its_cell_nothing(balancer, folder):
    cells = [cell(balancer, f"prune_weights(sparsity={k / 10})", episodes=20) for k in range(2, 6)]
    killed = []

    def kill_one():
        while not killed:
            for child in multiprocessing.active_children():
                if child.pid:
                    os.kill(child.pid, signal.SIGKILL)
                    killed.append(child.pid)
                    return
            time.sleep(0.01)

    thread = threading.Thread(target=kill_one)
    thread.start()
    records = list(local.Local(2).run_all(cells, folder, SILENT))
    thread.join()
    assert killed
    assert sorted(r.cell.recipe for r in records) == [c.recipe for c in cells]
    assert {r.status for r in records} == {"done"}


@pytest.mark.slow
def test_what_cannot_be_written_stops_the_study_in_one_line(balancer, folder):
    (folder / "records").write_text("in the way")
    with pytest.raises(LilliputError, match="records"):
        list(local.Local(2).run_all([cell(balancer), cell(balancer, "half()")], folder, SILENT))


@pytest.mark.slow
def test_leaving_early_ends_the_workers(balancer, folder):
    cells = [cell(balancer), cell(balancer, environment="hostile:Hangs-v0")]
    for record in local.Local(2).run_all(cells, folder, SILENT):
        assert record.status == "done"
        break
    for child in multiprocessing.active_children():
        child.join(600)
    assert not multiprocessing.active_children()
