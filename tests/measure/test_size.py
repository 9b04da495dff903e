"""Sizes. Oracle: the file system, and the policy's arrays counted by hand."""

import subprocess
from pathlib import Path

import pytest

from lilliput.measure import size
from lilliput.measurement import Absent, Measurement
from lilliput.policies.artifact import Artifact, read_artifact


def value(artifact: Artifact, name: str) -> float:
    (found,) = (m for m in size(artifact) if m.quantity == name)
    assert isinstance(found, Measurement)
    (number,) = found.values
    return number


def test_an_onnx_artifact(large: Artifact) -> None:
    n_weights = 3 * 1024 + 1024 * 1024 + 1024
    assert value(large, "n_macs") == n_weights
    assert value(large, "n_parameters") == n_weights + 1024 + 1024 + 1
    # The biases are zero.
    assert value(large, "n_nonzero_parameters") == n_weights
    assert value(large, "model_bytes") == pytest.approx(4 * (n_weights + 2049), rel=0.001)
    assert value(large, "file_bytes") == sum(path.stat().st_size for path in large.folder.glob("*.onnx"))
    assert value(large, "file_bytes") > 4 * n_weights


def test_a_c_artifact(compiled_small: Artifact, tmp_path: Path) -> None:
    data = value(compiled_small, "model_bytes")
    assert data < value(compiled_small, "file_bytes") < data + 50_000
    target = tmp_path / "c.o"
    command = [
        "cc",
        "-std=c99",
        "-O2",
        "-ffp-contract=off",
        "-c",
        str(compiled_small.folder / "c.c"),
        "-o",
        str(target),
    ]
    subprocess.run(command, check=True)
    assert value(compiled_small, "file_bytes") == target.stat().st_size


@pytest.mark.parametrize(
    ("compiler", "reason"), [("no-such-cc", "no-such-cc cannot be run"), ("false", "cannot compile c.c")]
)
def test_without_a_compiler_the_object_is_absent(
    compiled_small: Artifact, compiler: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", compiler)
    found = size(read_artifact(compiled_small.folder))[-1]
    assert isinstance(found, Absent)
    assert reason in found.reason
