"""What a model is not made for is refused in one line, before a cell runs or a folder is made."""

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from lilliput.__main__ import main
from lilliput.cli import cli
from lilliput.study import document, plan
from lilliput.study.models import MODELS

FOLDER = Path(__file__).parents[3] / "examples" / "models"
DIGITS, SCENES = FOLDER / "digits.npz", FOLDER / "scenes.npz"
HALF = "picture(mean=(0.5,), std=(0.5,))"
FOUND = f'detection(images="{SCENES}", decoder="{{}}")'


@pytest.fixture(scope="module")
def nine(tmp_path_factory):
    """The digits without the last one: nine classes."""
    path = tmp_path_factory.mktemp("nine") / "nine.npz"
    with np.load(DIGITS) as file:
        some = file["labels"] < 9
        np.savez(path, images=file["images"][some], labels=file["labels"][some], names=file["names"][:9])
    return path


@pytest.fixture(scope="module")
def twelve(tmp_path_factory):
    """Scenes that hold a thing of class 11, which a detector of ten classes cannot find."""
    path = tmp_path_factory.mktemp("twelve") / "twelve.npz"
    with np.load(SCENES) as file:
        boxes = file["boxes"].copy()
        boxes[boxes[:, 1] == 9, 1] = 11
        np.savez(path, images=file["images"], boxes=boxes)
    return path


def task_of(text, nine, twelve):
    return text.replace("NINE", str(nine)).replace("TWELVE", str(twelve))


MISFITS = [
    ("classifier", "classification", "images:NINE", "the model has 10 outputs and '.*nine.npz' 9 classes"),
    ("detector", "classification", f"images:{SCENES}", "gives 15 x 12 x 12 numbers a picture"),
    (
        "detector",
        "detection",
        f"images:{DIGITS}",
        "is a model of detection; its tasks: detection; classification is asked of models of classification",
    ),
    ("diffusion", "classification", f"images:{DIGITS}", "takes timestep besides pictures"),
    (
        "classifier",
        "classification",
        "text:wiki",
        "its tasks: classification; perplexity is asked of models of language",
    ),
    ("classifier", "detection", FOUND.format("fastestdet"), "FastestDet gives channels"),
    ("detector", "detection", FOUND.format("yolos"), "YOLOS and DETRs give the logits"),
    ("detector", "detection", 'detection(images="TWELVE", decoder="fastestdet")', "finds 10 classes.* of class 11"),
    ("classifier", "generation", f'denoising(images="{DIGITS}")', "takes a picture and a timestep"),
    ("classifier", "generation", f'elbo(images="{DIGITS}")', "an autoencoder takes a picture and `noise`"),
    ("diffusion", "generation", f'frechet(images="{SCENES}")', "are 48 x 48 and the model takes 8 x 8"),
    ("diffusion", "generation", f'elbo(images="{DIGITS}")', "an autoencoder takes a picture and `noise`"),
]


@pytest.mark.parametrize(("name", "family", "task", "said"), MISFITS)
def test_a_task_that_does_not_fit_is_refused_by_compare_and_by_study(
    name, family, task, said, nine, twelve, tmp_path, monkeypatch, capsys
):
    task, out = task_of(task, nine, twelve), tmp_path / "out"
    source = FOLDER / f"{name}.onnx"
    words = ["lilliput", "compare", source, "--task", task, "--family", family, "-r", "half()", "-o", out]
    monkeypatch.setattr("sys.argv", list(map(str, words)))
    with pytest.raises(SystemExit) as ended:
        main()
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 1
    assert line.startswith(f"Error: {source}")
    assert re.search(said, line)
    (tmp_path / "study.toml").write_text(
        f"models = ['{source}']\ntasks = ['{task}']\nrecipes = ['half()']\nformats = ['onnx']\n"
        f"load.'*'.family = '{family}'\n"
    )
    result = CliRunner().invoke(cli, ["study", "run", str(tmp_path / "study.toml"), "-o", str(out)])
    assert result.exit_code == 1
    assert re.search(said, str(result.exception))
    assert not out.exists()


def test_of_several_tasks_a_model_is_judged_on_those_that_it_fits(nine, tmp_path):
    noise = f'denoising(images="{DIGITS}", levels=2)'
    tasks = ["text:wiki", f"images:{nine}", f"images:{DIGITS}", f'elbo(images="{DIGITS}")', noise]
    for name, text in (("classifier", "classification"), ("diffusion", "denoising")):
        (tmp_path / "study.toml").write_text(
            f"models = ['{FOLDER}/{name}.onnx']\ntasks = {tasks}\n"
            "recipes = ['half()']\nformats = ['onnx']\n"
            + (f"[load.'*']\nfamily = 'generation'\npicture = '{HALF}'\n" if name == "diffusion" else "")
        )
        cells = plan.plan(document.read_study(tmp_path / "study.toml")).cells
        assert {cell.task.id.split("(")[0] for cell in cells} == {text}
        assert all(str(nine) not in cell.task.id for cell in cells)


def test_what_no_file_holds_is_said_though_another_task_fits(tmp_path):
    (tmp_path / "study.toml").write_text(
        f"models = ['{FOLDER}/classifier.onnx']\ntasks = ['images:{DIGITS}', 'images:{tmp_path}/none.npz']\n"
        "recipes = ['half()']\nformats = ['onnx']\n"
    )
    with pytest.raises(Exception, match=r"none\.npz' does not exist"):
        plan.plan(document.read_study(tmp_path / "study.toml"))


def test_a_graph_that_does_not_say_what_it_answers_to_is_what_its_task_asks_for(capsys):
    assert MODELS.load(str(FOLDER / "detector.onnx"), {"asked": "detection"}).family == "detection"
    found = MODELS.load(str(FOLDER / "detector.onnx"), {"asked": "detection"})
    assert found.provenance.guesses == ()
    assert "taken for a classifier" in MODELS.load(str(FOLDER / "detector.onnx"), {}).provenance.guesses[0]
    both = MODELS.load(str(FOLDER / "detector.onnx"), {"asked": "detection", "family": "generation"})
    assert both.family == "generation"


def test_a_short_task_is_the_long_one():
    from lilliput.models.task import format_task, parse_task

    assert format_task(parse_task("images:val/")) == 'classification(images="val/")'
    assert format_task(parse_task("text:wiki")) == 'perplexity(text="wiki")'
    assert format_task(parse_task("questions:a'b.jsonl")) == 'choices(questions="a\'b.jsonl")'


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (("--task", "image:val/"), "no task is called image: in short; did you mean images? there are: images, text"),
        (("--task", f"images:{DIGITS}", "--family", "clasification"), "'clasification'; did you mean classification?"),
        (("--task", f"images:{DIGITS}", "--format", "c"), "format 'c' is none of a model; it has: onnx"),
    ],
)
def test_a_slip_on_the_command_line_is_refused_before_a_folder_is_made(told, said, tmp_path):
    command = ["compare", str(FOLDER / "classifier.onnx"), *told, "-r", "half()", "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(cli, command)
    assert said in str(result.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("task", "family", "said"),
    [("detect", "detection", ""), ("classify", "classification", ""), ("pose", "classification", "its task is 'pose'")],
)
def test_a_file_that_names_its_task_is_taken_for_what_it_says(tmp_path, task, family, said) -> None:
    """As Ultralytics writes it; what is no family here stays a guess, which names what stands there."""
    proto = onnx.load(FOLDER / "detector.onnx")
    onnx.helper.set_model_props(proto, {"author": "Ultralytics", "task": task})
    onnx.save(proto, tmp_path / "named.onnx")
    model = MODELS.load(str(tmp_path / "named.onnx"), {})
    assert model.family == family
    assert said in " ".join(model.provenance.guesses)
    assert bool(said) == any("taken for a classifier" in one for one in model.provenance.guesses)
