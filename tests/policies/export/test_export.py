"""Exporting: an artifact stands there whole and does what the policy does, or nothing stands there."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.arrays import f32

from lilliput.errors import LilliputError
from lilliput.policies import artifact, layers, spaces
from lilliput.policies.artifact import Artifact
from lilliput.policies.export import CheckResult, check, describe, export, failures, open_artifact
from lilliput.policies.export.golden import Golden
from lilliput.policies.export.onnx import build
from lilliput.policies.export.onnx_exporter import Onnx
from lilliput.policies.policy import Policy, Provenance

SPACE = spaces.Box((2,), np.array(-np.inf), np.array(np.inf))
PROVENANCE = Provenance("a.zip", "00", "stable_baselines3", "PPO", "Walker-v5", ("time_feature",), (), "half()")


def continuous(weight: float = 0.5) -> Policy:
    stack = (layers.Dense(f32([[weight, -0.25]]), f32([0.125])), layers.SquashAction())
    return Policy(SPACE, spaces.Box((1,), np.array(-1.0), np.array(1.0)), stack, PROVENANCE)


def choosing(sign: float = 1.0) -> Policy:
    stack = (layers.Dense(f32([[sign, 0], [0, 1]]), None), layers.ArgmaxAction((2,)))
    return Policy(SPACE, spaces.Discrete(2), stack)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_manifest_says_what_was_exported(tmp_path: Path) -> None:
    policy = continuous()
    made = export(policy, "onnx", tmp_path / "deep" / "out")
    assert files(tmp_path / "deep") == ["out"]
    assert files(made.folder) == ["golden.npz", "manifest.json", "model.onnx"]
    manifest = artifact.read_artifact(made.folder).manifest
    assert (manifest.format, manifest.policy_digest, manifest.recipe) == ("onnx", policy.digest, "half()")
    assert (manifest.source, manifest.environment, manifest.wrappers) == ("a.zip", "Walker-v5", ("time_feature",))
    assert (manifest.n_parameters, manifest.n_macs, manifest.model_bytes) == (3, 2, 12)
    assert set(manifest.files) == {"golden.npz", "model.onnx"}
    assert {"lilliput", "numpy", "python", "onnx"} <= set(manifest.versions)


def test_two_exports_are_the_same_bytes(tmp_path: Path) -> None:
    one, two = (export(continuous(), "onnx", tmp_path / name) for name in ("one", "two"))
    assert one.manifest.files == two.manifest.files


def test_check_says_how_far_off_it_is(tmp_path: Path) -> None:
    made = export(continuous(), "onnx", tmp_path / "out")
    result = check(made.folder)
    assert result.ok
    assert result.n_examples == 64
    assert result.flips == 0
    assert 0 <= result.largest_difference <= result.tolerance == pytest.approx(1e-5)
    assert describe(result).startswith("64 golden examples, largest difference ")


@pytest.mark.parametrize(("policy", "other"), [(continuous(), continuous(0.5001)), (choosing(), choosing(0.9))])
def test_what_does_not_do_what_the_policy_does_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: Policy, other: Policy
) -> None:
    def write_other(exporter: Onnx, policy: Policy, folder: Path, golden: Golden, name: str) -> dict[str, str]:
        (folder / "model.onnx").write_bytes(build(other).SerializeToString())
        return {}

    monkeypatch.setattr(Onnx, "write", write_other)
    with pytest.raises(
        LilliputError, match="the onnx artifact does not do what the policy does and was not written: 64 golden"
    ) as caught:
        export(policy, "onnx", tmp_path / "out")
    assert files(tmp_path) == []
    assert ("other choices" in str(caught.value)) == policy.is_discrete


def test_nothing_is_left_by_an_interrupted_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(exporter: Onnx, policy: Policy, folder: Path, golden: Golden, name: str) -> dict[str, str]:
        (folder / "model.onnx").write_bytes(b"half")
        raise KeyboardInterrupt

    export(continuous(), "onnx", tmp_path / "out")
    before = check(tmp_path / "out")
    monkeypatch.setattr(Onnx, "write", interrupted)
    for folder, force in (("new", False), ("out", True)):
        with pytest.raises(KeyboardInterrupt):
            export(continuous(), "onnx", tmp_path / folder, force=force)
    assert files(tmp_path) == ["out"]
    assert check(tmp_path / "out") == before


def test_what_exists_is_refused_and_only_an_artifact_is_replaced(tmp_path: Path) -> None:
    made = export(continuous(), "onnx", tmp_path / "out")
    (made.folder / "notes.txt").write_text("mine")
    with pytest.raises(LilliputError, match="out exists; choose another name, or --force to replace an artifact"):
        export(choosing(), "onnx", made.folder)
    replaced = export(choosing(), "onnx", made.folder, force=True)
    assert replaced.manifest.policy_digest == choosing().digest
    assert files(made.folder) == ["golden.npz", "manifest.json", "model.onnx"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years")
    (tmp_path / "file").write_text("text")
    for name in ("mine", "file"):
        with pytest.raises(
            LilliputError, match=r"exists and is not an artifact: it has no manifest\.json; it is not replaced"
        ):
            export(choosing(), "onnx", tmp_path / name, force=True)
    assert files(tmp_path) == ["file", "mine", "out"]


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    with pytest.raises(LilliputError, match="cannot be written: Not a directory"):
        export(continuous(), "onnx", tmp_path / "file" / "out")
    assert files(tmp_path) == ["file"]


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LilliputError, match="the format is 'tflite'; allowed: onnx, c"):
        export(continuous(), "tflite", tmp_path / "out")


def rewritten(made: Artifact, change: Callable[[Any, Any], tuple[Any, Any]]) -> Path:
    """The artifact with other golden examples, its manifest in order."""
    artifact.write_golden(made.folder, *change(*artifact.read_golden(made)))
    path = made.folder / artifact.MANIFEST
    data = json.loads(path.read_text())
    data["files"][artifact.GOLDEN] = artifact.file_sha256(made.folder / artifact.GOLDEN)
    path.write_text(json.dumps(data))
    return made.folder


def test_check_finds_another_action(tmp_path: Path) -> None:
    made = export(continuous(), "onnx", tmp_path / "out")
    folder = rewritten(made, lambda x, a: (x, a + np.float32(1e-3) * (np.arange(len(a)) == 5)[:, None]))
    result = check(folder)
    assert not result.ok
    assert result.largest_difference == pytest.approx(1e-3, rel=0.05)


def test_check_counts_flips(tmp_path: Path) -> None:
    made = export(choosing(), "onnx", tmp_path / "out")
    result = check(rewritten(made, lambda x, a: (x, np.where(np.arange(len(a)) < 3, 1 - a, a))))
    assert (result.ok, result.flips) == (False, 3)
    assert "3 other choices; 3 of its choices are not the policy's: export again" in describe(result)


GOOD = CheckResult(n_examples=64, largest_difference=0.0, flips=0, tolerance=1e-5, batch_is_exact=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_examples": 0}, "no golden examples"),
        ({"largest_difference": 2e-5}, "its actions are not the policy's"),
        ({"largest_difference": np.inf}, "its actions are not the policy's"),
        ({"flips": 2, "tolerance": 0.0, "largest_difference": 1.0}, "2 of its choices are not"),
        ({"batch_is_exact": False}, "a batch gives other actions than its observations alone"),
    ],
)
def test_every_failure_is_explained(change: dict[str, Any], words: str) -> None:
    assert not failures(GOOD)
    result = dataclasses.replace(GOOD, **change)
    assert not result.ok
    assert [words in clause for clause in failures(result)] == [True]
    assert words in describe(result)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, a: (x[:5], a), "golden actions are float32[64, 1]"),
        (lambda x, a: (x, a[:, 0]), "golden actions are float32[64]"),
        (lambda x, a: (x, a.astype(str)), "golden actions are <U"),
        (lambda x, a: (x[:, :1], a), "golden observations are float32[64, 1]; export again"),
        (lambda x, a: (x.astype(str), a), "golden observations are <U"),
        (lambda x, a: (x[0], a[0]), "golden observations are float32[2]"),
    ],
)
def test_golden_examples_of_another_kind_are_refused(
    tmp_path: Path, change: Callable[[Any, Any], Any], message: str
) -> None:
    made = export(continuous(), "onnx", tmp_path / "out")
    with pytest.raises(LilliputError) as caught:
        check(rewritten(made, change))
    assert message in str(caught.value)


def test_no_example_proves_nothing(tmp_path: Path) -> None:
    made = export(continuous(), "onnx", tmp_path / "out")
    assert not check(rewritten(made, lambda x, a: (x[:0], a[:0]))).ok


def test_nan_is_far_off(tmp_path: Path) -> None:
    made = export(continuous(), "onnx", tmp_path / "out")
    result = check(rewritten(made, lambda x, a: (x * np.float32(np.nan), a)))
    assert not result.ok
    assert result.largest_difference == np.inf
    assert result.batch_is_exact, "alone and in a batch it answers NaN alike"
    (said,) = failures(result)
    assert "one is NaN or infinite" in said


def test_an_artifact_can_be_moved(tmp_path: Path) -> None:
    made = export(continuous(), "onnx", tmp_path / "out")
    moved = made.folder.rename(tmp_path / "elsewhere")
    assert check(moved).ok
    assert open_artifact(moved)(np.zeros(2)).shape == (1,)
