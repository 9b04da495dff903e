"""Artifacts: what is written is read again; what was changed, moved or damaged is refused with one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lilliput.errors import LilliputError
from lilliput.policies import artifact, spaces
from lilliput.policies.artifact import Artifact, Manifest


@pytest.fixture
def written(tmp_path: Path) -> Artifact:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"model")
    artifact.write_golden(folder, np.zeros((2, 3), np.float32), np.array([0, 1]))
    manifest = Manifest(
        format="onnx",
        observation_space=spaces.Box((3,), np.array([-np.inf, 0, -1]), np.array(np.inf)),
        action_space=spaces.Discrete(2),
        input_dtype="float32",
        wrappers=("time_feature",),
        environment="CartPole-v1",
        policy_digest="12",
        recipe="half()",
        source="a.zip",
        source_sha256="34",
        n_parameters=1,
        n_nonzero_parameters=1,
        n_macs=1,
        model_bytes=4,
        tolerance=0.0,
        files={path.name: artifact.file_sha256(path) for path in folder.iterdir()},
        versions={"lilliput": "0"},
    )
    return artifact.write_manifest(folder, manifest)


def test_a_folder_gives_the_artifact_back(written: Artifact) -> None:
    again = artifact.read_artifact(written.folder)
    for name in (name for name in vars(written.manifest) if not name.endswith("_space")):
        assert getattr(again.manifest, name) == getattr(written.manifest, name), name
    assert spaces.to_json(again.manifest.observation_space) == spaces.to_json(written.manifest.observation_space)
    assert again.manifest.action_space == written.manifest.action_space
    observations, actions = artifact.read_golden(again)
    assert observations.shape == (2, 3)
    assert actions.tolist() == [0, 1]


def test_a_folder_without_a_manifest_is_no_artifact(tmp_path: Path) -> None:
    with pytest.raises(
        LilliputError, match=r"is not an artifact: it has no manifest\.json; `lilliput export` writes one"
    ):
        artifact.read_artifact(tmp_path)


@pytest.mark.parametrize("name", ["model.onnx", "golden.npz"])
def test_a_file_that_was_changed_or_removed_is_refused(written: Artifact, name: str) -> None:
    path = written.folder / name
    path.write_bytes(path.read_bytes() + b"0")
    with pytest.raises(LilliputError, match=f"{name} is missing or was changed since the export; export again"):
        artifact.read_artifact(written.folder)
    path.unlink()
    with pytest.raises(LilliputError, match=f"{name} is missing or was changed since the export; export again"):
        artifact.read_artifact(written.folder)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda m: m.update(artifact_format=5), "of format 5; this version reads 1 to 4: update lilliput"),
        (lambda m: m.update(name="../out"), "is malformed"),
        (lambda m: m.update(name="a b"), "is malformed"),
        (lambda m: m.update(symbol="system"), "is malformed"),
        (lambda m: m.pop("artifact_format"), "is malformed"),
        (lambda m: m.pop("files"), "is malformed"),
        (lambda m: m.update(files=["model.onnx"]), "is malformed"),
        (lambda m: m.update(files={"../secret": "00"}), "names the file '../secret' outside the artifact"),
        (lambda m: m.update(files={"/etc/passwd": "00"}), "names the file '/etc/passwd' outside the artifact"),
        (lambda m: m.update(files={"..": "00"}), "is missing or was changed"),
        (lambda m: m.update(more=1), "is malformed"),
        (lambda m: m.update(wrappers=7), "is malformed"),
        (lambda m: m.update(tolerance="0"), "is malformed"),
        (lambda m: m.update(tolerance=None), "is malformed"),
        (lambda m: m.update(n_macs=1.5), "is malformed"),
        (lambda m: m.update(n_macs=True), "is malformed"),
        (lambda m: m.update(recipe=[]), "is malformed"),
        (lambda m: m.update(observation_space=m["action_space"]), "is malformed"),
        (lambda m: m.update(action_space={"kind": "tuple"}), "has the kind 'tuple'"),
    ],
)
def test_a_manifest_of_another_kind_is_refused(
    written: Artifact, edit: Callable[[dict[str, Any]], None], message: str
) -> None:
    path = written.folder / artifact.MANIFEST
    data = json.loads(path.read_text())
    edit(data)
    path.write_text(json.dumps(data))
    with pytest.raises(LilliputError) as caught:
        artifact.read_artifact(written.folder)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b"7", b'{"artifact_format": 1}']
)
def test_text_that_is_no_manifest_is_refused(written: Artifact, text: bytes) -> None:
    (written.folder / artifact.MANIFEST).write_bytes(text)
    with pytest.raises(LilliputError, match="is malformed"):
        artifact.read_artifact(written.folder)


def test_a_link_out_of_the_folder_is_not_read_as_its_own(written: Artifact, tmp_path: Path) -> None:
    (written.folder / "model.onnx").unlink()
    (tmp_path / "elsewhere").write_bytes(b"other")
    (written.folder / "model.onnx").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LilliputError, match="is missing or was changed"):
        artifact.read_artifact(written.folder)


def test_damaged_golden_examples_are_refused(written: Artifact) -> None:
    path = written.folder / artifact.GOLDEN
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    variants = [data[:end] for end in range(0, len(data), 7)]
    for _ in range(500):
        mutated = bytearray(data)
        mutated[rng.integers(len(data))] = rng.integers(256)
        variants.append(bytes(mutated))
    np.save(written.folder / "single.npy", np.zeros(3))
    objects = written.folder / "objects.npz"
    np.savez(objects, observations=np.array([{}], dtype=object), actions=np.zeros(1))
    variants += [(written.folder / "single.npy").read_bytes(), objects.read_bytes(), b"\x80\x04N."]
    refused = 0
    for variant in variants:
        path.write_bytes(variant)
        try:
            artifact.read_golden(written)
        except LilliputError:
            refused += 1
    assert refused > len(data) // 7


def test_golden_examples_are_the_same_bytes_every_time(written: Artifact, tmp_path: Path) -> None:
    artifact.write_golden(tmp_path, np.zeros((2, 3), np.float32), np.array([0, 1]))
    assert (tmp_path / artifact.GOLDEN).read_bytes() == (written.folder / artifact.GOLDEN).read_bytes()


def test_an_artifact_of_the_first_format_is_called_policy(written: Artifact) -> None:
    path = written.folder / artifact.MANIFEST
    data = json.loads(path.read_text())
    data["artifact_format"] = 1
    del data["name"], data["symbol"]
    for format_, symbol in (("onnx", ""), ("c", "policy_act")):
        path.write_text(json.dumps({**data, "format": format_}))
        found = artifact.read_artifact(written.folder).manifest
        assert (found.name, found.symbol) == ("policy", symbol)


@pytest.mark.parametrize("name", ["", "1st", "my-policy", "a" * 41, "int main;", "math", "String", "x\n"])
def test_a_name_that_c_cannot_have_is_refused(name: str) -> None:
    with pytest.raises(LilliputError, match="the name is"):
        artifact.check_name(name)
