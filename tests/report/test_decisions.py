import math

import numpy as np
from tests.report.rows import study

from lilliput.report import summary
from lilliput.report.decisions import Decisions

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
    known.decide(b * 0.93, b, r, 0.9)
    known.save()
    for candidate, keep in ((b * 0.92, 0.9), (b * 0.93, 0.95)):
        fresh = Decisions(path)
        fresh.decide(candidate, b, r, keep)
        assert fresh.is_new


def test_what_has_no_retention_and_no_end_survives_the_file(tmp_path):
    path = tmp_path / "decisions.json"
    noise = np.random.default_rng(0).normal(size=20)
    for candidate, baseline in ((noise, noise), (np.ones(1), np.full(1, 2.0))):
        known = Decisions(path)
        decided = known.decide(candidate, baseline, np.zeros_like(baseline), 0.9)
        known.save()
        assert Decisions(path).decide(candidate, baseline, np.zeros_like(baseline), 0.9) == decided
    assert decided[0] is None or math.isinf(decided[0].low)


def test_a_damaged_file_is_as_none(tmp_path):
    path = tmp_path / "decisions.json"
    path.write_text("{")
    assert Decisions(path).known == {}
