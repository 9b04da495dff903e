import pytest
from tests.study.test_study import SHORT, ran, study_file

from lilliput.study.document import read_study
from lilliput.study.estimate import estimate
from lilliput.study.plan import plan
from lilliput.study.policies import POLICIES, TRAINING


def estimated(path, folder, workers=1):
    return estimate(plan(read_study(path)), folder, workers, retry_failed=False)


def test_what_is_finished_costs_nothing_and_two_workers_take_half(balancer, tmp_path):
    path = study_file(tmp_path, balancer, SHORT)
    one, two = estimated(path, tmp_path / "out"), estimated(path, tmp_path / "out", 2)
    assert one.missing == one.cells == 6
    assert two.seconds == pytest.approx(one.seconds / 2, rel=0.5)
    ran(path, tmp_path / "out")
    after = estimated(path, tmp_path / "out")
    assert (after.missing, after.seconds, after.disk_bytes) == (0, 0.0, 0)


def test_training_is_counted_by_its_steps(balancer, tmp_path, monkeypatch):
    monkeypatch.setattr(type(POLICIES), "item_s", lambda *_: 0.01)  # a busy machine takes longer one time than another
    short = estimated(study_file(tmp_path, balancer, SHORT, recipes=['"finetune(steps=100)"']), tmp_path / "out")
    usual = estimated(study_file(tmp_path, balancer, SHORT, recipes=['"finetune()"']), tmp_path / "out")
    each, steps = TRAINING["finetune"]
    assert usual.seconds - short.seconds == pytest.approx(each * (steps - 100), rel=0.1)
