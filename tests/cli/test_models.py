"""Models on the command line where a policy, or another file, is expected."""

from pathlib import Path

import pytest

from lilliput.__main__ import main

MODELS = Path(__file__).parents[2] / "examples" / "models"


def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object) -> str:
    """The one line of error that the command ends with."""
    monkeypatch.setattr("sys.argv", ["lilliput", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize("name", ["classifier.onnx", "detector.onnx", "diffusion.onnx"])
@pytest.mark.parametrize("command", [["show"], ["shrink", "--env", "Hopper-v5", "-o", "x"]], ids=lambda one: one[0])
def test_a_model_taken_for_a_policy_is_told_how_to_say_what_it_is(capsys, monkeypatch, tmp_path, command, name) -> None:
    monkeypatch.chdir(tmp_path)
    assert "--family, or --task of compare" in said(capsys, monkeypatch, command[0], MODELS / name, *command[1:])
    assert list(tmp_path.iterdir()) == []


def test_pictures_that_are_a_text_are_no_advice_to_trust_them(capsys, monkeypatch, tmp_path) -> None:
    (tmp_path / "pictures.npz").write_text("no pictures")
    task = f'classification(images="{tmp_path / "pictures.npz"}")'
    folder = tmp_path / "results"
    line = said(
        capsys, monkeypatch, "compare", MODELS / "classifier.onnx", "--task", task, "-r", "half()", "-o", folder
    )
    assert line.endswith("is no folder of pictures and no .npz with images (labels and names)")
    assert not folder.exists()


def test_pictures_that_judge_and_calibrate_are_refused_before_anything_runs(capsys, monkeypatch, tmp_path) -> None:
    """Whatever the path to them is: here a copy, and the whole of them judged."""
    digits = MODELS / "digits.npz"
    (tmp_path / "copy.npz").write_bytes(digits.read_bytes())
    task, folder = f'classification(images="{digits}", part="whole")', tmp_path / "results"
    recipe = f'quantize(scheme="static", source="{tmp_path / "copy.npz"}", observations=20)'
    line = said(
        capsys, monkeypatch, "compare", MODELS / "classifier.onnx", "--task", task, "-r", "half()", "-r", recipe,
        "-o", folder,
    )  # fmt: skip
    assert "21% of the pictures" in line
    assert "judged on what it was calibrated on" in line
    assert not folder.exists()


def test_more_pictures_than_calibrate_are_refused_before_anything_runs(capsys, monkeypatch, tmp_path) -> None:
    digits, folder = MODELS / "digits.npz", tmp_path / "results"
    recipe = f'quantize(scheme="static", source="{digits}", observations=5000)'
    line = said(
        capsys, monkeypatch, "compare", MODELS / "classifier.onnx", "--task", f'classification(images="{digits}")',
        "-r", "half()", "-r", recipe, "-o", folder,
    )  # fmt: skip
    assert "pictures that calibrate, one in five of each class; observations is 5000" in line
    assert not folder.exists()
