import math
import time

import numpy as np
import pytest
from tests.report.rows import study

from lilliput.report import summary
from lilliput.report.decisions import Decisions
from lilliput.statistics import retention, verdict

SHARES = {"half()": (0.99, 2000), "quantize()": (0.5, 1000)}


def test_what_was_decided_before_reads_back_the_same(tmp_path):
    path = tmp_path / "decisions.json"
    first = Decisions(path)
    computed = summary.rows(study(SHARES), 0.9, first)
    first.save()
    again = Decisions(path)
    assert summary.rows(study(SHARES), 0.9, again) == computed == summary.rows(study(SHARES), 0.9)
    assert not again.is_new


def test_other_returns_and_another_share_are_decided_anew(tmp_path):
    path = tmp_path / "decisions.json"
    known = Decisions(path)
    b, r = np.linspace(90, 110, 40), np.zeros(40)
    known.decide([(b * 0.93, b, r)], 0.9)
    known.save()
    for candidate, keep in ((b * 0.92, 0.9), (b * 0.93, 0.95)):
        fresh = Decisions(path)
        fresh.decide([(candidate, b, r)], keep)
        assert fresh.is_new


def test_what_has_no_retention_and_no_end_survives_the_file(tmp_path):
    path = tmp_path / "decisions.json"
    noise = np.random.default_rng(0).normal(size=20)
    for candidate, baseline in ((noise, noise), (np.ones(1), np.full(1, 2.0))):
        known = Decisions(path)
        episodes = [(candidate, baseline, np.zeros_like(baseline))]
        (decided,) = known.decide(episodes, 0.9)
        known.save()
        assert Decisions(path).decide(episodes, 0.9) == [decided]
    assert decided[0] is None or math.isinf(decided[0].low)


def test_a_damaged_file_is_as_none(tmp_path):
    path = tmp_path / "decisions.json"
    path.write_text("{")
    assert Decisions(path).known == {}


def test_taken_together_and_alone_they_are_the_same():
    rng = np.random.default_rng(1)
    lengths = (20, 60, 60, 20, 60)
    episodes = [(rng.normal(95, 9, n), rng.normal(100, 9, n), rng.normal(0, 9, n)) for n in lengths]
    together = Decisions().decide(episodes, 0.9)
    for rows, (kept, decided) in zip(episodes, together, strict=True):
        alone = verdict(*rows, 0.9, rng=np.random.default_rng(0))
        assert kept == retention(*rows, rng=np.random.default_rng(0))
        assert decided.status == alone.status
        assert (decided.low, decided.high) == pytest.approx((alone.low, alone.high))


def test_a_thousand_new_decisions_take_no_more_than_seconds():
    rng = np.random.default_rng(0)
    random, baseline = rng.normal(0, 10, 100), rng.normal(100, 10, 100)
    began = time.process_time()
    decided = Decisions().decide([(baseline * share, baseline, random) for share in np.linspace(0, 1.1, 1000)], 0.9)
    assert time.process_time() - began < 5  # half a second on a quiet machine; one by one it was 50
    assert len({verdict.status for _, verdict in decided}) == 3
