"""What an outcome depends on is in the key of its record, and held against the machine that measures it."""

from dataclasses import replace
from importlib import metadata

import pytest
from tests.study.test_processes import cell

from lilliput.errors import LilliputError
from lilliput.policies.learner import Checkpoint
from lilliput.study.policies import POLICIES
from lilliput.study.run import run
from lilliput.study.version import check_here, versions
from lilliput.study.workspace import Workspace
from lilliput.task import Task

TASK = Task("CartPole-v1")


def test_steps_quantities_environment_and_runtime_are_in_the_key() -> None:
    gymnasium, runtime = metadata.version("gymnasium"), metadata.version("onnxruntime")
    found = versions(POLICIES, "half()", ("n_macs",), TASK, "onnx")
    assert dict(found) == {
        "step.half": "1", "quantity.n_macs": "1", "package.gymnasium": gymnasium, "package.onnxruntime": runtime,
    }  # fmt: skip
    assert found == tuple(sorted(found))
    assert "package.onnxruntime" not in dict(versions(POLICIES, "half()", ("n_macs",), TASK, "c"))


def test_another_version_than_was_asked_for_is_a_failed_cell(balancer, tmp_path) -> None:
    POLICIES.keep(Checkpoint(balancer), Workspace(tmp_path))
    asked = replace(cell(balancer), versions=versions(POLICIES, "", ("episode_return", "model_bytes"), TASK, "onnx"))
    check_here(asked)
    assert run(asked, tmp_path, lambda *_: None).status == "done"
    other = replace(asked, versions=(("package.gymnasium", "0.1"), ("package.pybullet", "3")))
    with pytest.raises(LilliputError, match=r"has gymnasium .* where 0\.1 is asked for, pybullet not where 3"):
        check_here(other)
    assert "install the same on every machine" in run(other, tmp_path, lambda *_: None).reason
