import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tests.report.rows import study

from lilliput.errors import LilliputError
from lilliput.report import decisions, summary
from lilliput.report.decisions import Episodes, decide
from lilliput.report.files import write_all
from lilliput.report.second_process import MANY, second_process
from lilliput.report.smallest import smallest
from lilliput.statistics import is_above_random, retention, verdict, worst_case


def episodes(lengths: tuple[int, ...]) -> list[Episodes]:
    rng = np.random.default_rng(1)
    return [(rng.normal(95, 9, n), rng.normal(100, 9, n), rng.normal(0, 9, n)) for n in lengths]


def test_taken_together_and_alone_they_are_the_same():
    played = episodes((20, 60, 60, 20, 60))
    for rows, (kept, decided) in zip(played, decide(played, 0.9), strict=True):
        alone = verdict(*rows, 0.9, rng=np.random.default_rng(0))
        assert kept == retention(*rows, rng=np.random.default_rng(0))
        assert decided == alone


def test_candidates_of_one_baseline_are_decided_as_with_baselines_of_their_own():
    played = episodes((40, 40, 40))
    shared = [(ours, *played[0][1:]) for ours, _, _ in played]
    mixed = decide([*shared, *played], 0.9)
    assert mixed[:3] == decide(shared, 0.9)
    assert mixed[3:] == decide(played, 0.9)


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_another_process_takes_a_part_and_changes_nothing(monkeypatch):
    monkeypatch.setattr(decisions, "_TOGETHER", 20)
    records = study({f"prune_units(ratio={k / 100})": (1 - k / 100, 4000 - k) for k in range(70)})
    with second_process(MANY) as other:
        assert other is not None
        assert summary.rows(records, 0.9, other) == summary.rows(records, 0.9)


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_a_report_of_two_processes_is_that_of_one(tmp_path):
    records = study({f"prune_units(ratio={k / 100})": (1 - k / 100, 4000 - k) for k in range(5)})
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    alone = write_all(records, 0.9, one, "T")
    with second_process(MANY) as other:
        shared = write_all(records, 0.9, two, "T", second=other)
    assert list(shared.files) == list(alone.files)
    for kind in ("csv", "parquet", "html", "guidelines", "tables.md"):
        assert shared.files[kind].read_bytes() == alone.files[kind].read_bytes(), kind


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_a_second_process_that_is_killed_is_said_in_a_line(tmp_path):
    def report() -> None:
        with second_process(MANY) as other:
            assert other is not None
            os.kill(other.submit(os.getpid).result(), signal.SIGKILL)
            write_all(study({"half()": (0.99, 2000)}), 0.9, tmp_path, "T", second=other)

    with pytest.raises(LilliputError, match=r"second process of the report ended .*; run the same command again"):
        report()


_PARENT = """
import time
from lilliput.report.second_process import MANY, second_process
if __name__ == "__main__":
    with second_process(MANY) as pool:
        print(pool.submit(__import__("os").getpid).result(), flush=True)
        time.sleep(60)
"""


@pytest.mark.slow
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_the_other_process_ends_with_a_parent_that_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(_PARENT)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        other = int(parent.stdout.readline())
        os.kill(other, 0)
        parent.kill()
    until = time.monotonic() + 600
    while _lives(other) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _lives(other)


def _lives(process: int) -> bool:
    stat = Path(f"/proc/{process}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_few_records_start_no_process():
    with second_process(MANY - 1) as other:
        assert other is None


def test_status_decides_up_to_the_smallest_kept_of_each_policy_and_finds_the_same(monkeypatch):
    candidates = {f"prune_units(ratio={k / 300})": (1.02 - k / 150, 4000 - 10 * k) for k in range(60)}
    records = study(candidates)
    best = smallest(summary.rows(records, 0.95))
    counts = []
    monkeypatch.setattr(summary, "decide", lambda played, keep: counts.append(len(played)) or decide(played, keep))
    assert smallest(summary.rows_to_the_first_kept(records, 0.95)) == best
    assert None not in best
    assert sum(counts) < len(records) / 3
    assert smallest(summary.rows_to_the_first_kept(study({"half()": (0.5, 9)}), 0.95)) == [None] * 3


def test_many_decisions_draw_weights_once_and_ask_once_of_the_baseline(monkeypatch):
    rng = np.random.default_rng(0)
    random, baseline = rng.normal(0, 10, 100), rng.normal(100, 10, 100)
    drawn = []
    exponential = worst_case.shared_dirichlet_means
    monkeypatch.setattr(
        sys.modules["lilliput.statistics.verdict"],
        "shared_dirichlet_means",
        lambda columns, *others: drawn.append(len(columns)) or exponential(columns, *others),
    )
    asked = []
    monkeypatch.setattr(decisions, "is_above_random", lambda *a, **k: asked.append(1) or is_above_random(*a, **k))
    decided = decide([(baseline * share, baseline, random) for share in np.linspace(0, 1.1, 100)], 0.9)
    assert drawn == [101]  # every candidate and one baseline, under the same weights
    assert len(asked) == 1
    assert len({verdict.status for _, verdict in decided}) == 3
