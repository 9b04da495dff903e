"""The models that ship: each judged from the command line as a new user would, and what other commands do with them."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner

from lilliput.cli import cli
from lilliput.errors import LilliputError
from lilliput.models.compress import compress
from lilliput.models.graph import graph_of
from lilliput.models.load import load_model

FOLDER = Path(__file__).parents[2] / "examples" / "models"
DIGITS, SCENES = FOLDER / "digits.npz", FOLDER / "scenes.npz"
FOUND = f"detection(images={str(SCENES)!r}, decoder='fastestdet', draws=100)"
HALF = "picture(mean=(0.5,), std=(0.5,))"


def run(*words):
    result = CliRunner().invoke(cli, [str(word) for word in words])
    if isinstance(result.exception, LilliputError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.parametrize(
    ("name", "task", "told", "better_than"),
    [
        ("classifier", f"classification(images={str(DIGITS)!r})", (), 0.95),
        pytest.param("detector", FOUND, ("--family", "detection"), 0.3, marks=pytest.mark.slow),
        ("diffusion", f"denoising(images={str(DIGITS)!r}, n=60, levels=4)",
         ("--family", "generation", "--picture", HALF), -0.35),
    ],
)  # fmt: skip
def test_compare_judges_each_of_them(name, task, told, better_than, tmp_path):
    command = [
        "compare",
        FOLDER / f"{name}.onnx",
        "--task",
        task,
        *told,
        "-r",
        "half()",
        "-r",
        "quantize(scheme='weight_only')",
        "-r",
        "prune_weights(sparsity=0.9)",
        "--workers",
        "1",
    ]
    found = json.loads(run(*command, "--no-timings", "--keep", "0.9", "-o", tmp_path / "out", "--json").stdout)
    baseline, half, codes, pruned = found["rows"]
    assert baseline["mean_value"] > better_than
    assert half["verdict"]["status"] == "kept"
    assert half["smaller"] > 1.9
    assert codes["verdict"]["status"] == "kept"
    assert codes["smaller"] > 3.4
    assert pruned["verdict"]["status"] == "lost"
    assert pruned["retention"]["estimate"] < 0.9
    assert (FOLDER / f"{name}.onnx").stat().st_size < 500_000


def test_a_model_is_shown_compressed_exported_and_checked(tmp_path):
    source = FOLDER / "classifier.onnx"
    shown = json.loads(run("show", source, "--family", "classification", "--json").stdout)
    assert (shown["n_parameters"], len(shown["layers"])) == (33194, 5)
    assert "image float32[batch, 1, 8, 8]" in run("show", source, "--family", "classification").stdout
    small = tmp_path / "small.onnx"
    said = run("compress", source, "--family", "classification", "-r", "prune_units(ratio=0.25)", "-o", small).stdout
    assert "model bytes instead of" in said
    session = onnxruntime.InferenceSession(str(small), providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {"image": np.zeros((3, 1, 8, 8), np.float32)})
    assert np.asarray(answer).shape == (3, 10)
    run("export", small, "--family", "classification", "-o", tmp_path / "artifact")
    assert "golden answers reproduced" in run("check", tmp_path / "artifact").stdout
    with pytest.raises(LilliputError, match="exists"):
        run("compress", source, "--family", "classification", "-r", "half()", "-o", small)
    with pytest.raises(LilliputError, match=r"must end in \.onnx"):
        run("compress", source, "--family", "classification", "-r", "half()", "-o", tmp_path / "small.lilliput")
    with pytest.raises(LilliputError, match="formats of models"):
        run("export", source, "--family", "classification", "--format", "c", "-o", tmp_path / "c")


def test_an_artifact_of_a_model_is_measured_in_a_line_for_each_quantity(tmp_path):
    folder = tmp_path / "artifact"
    run("export", FOLDER / "classifier.onnx", "--family", "classification", "-o", folder)
    lines = run("measure", folder).stdout.splitlines()
    found = {line.split()[0]: line for line in lines}
    assert len(found) == len(lines)
    assert "132,776" in found["model_bytes"]
    assert {"file_bytes", "latency_s", "peak_memory_bytes", "energy_j"} <= set(found)
    told = json.loads(run("measure", folder, "--json").stdout)
    assert [one["quantity"] for one in told] == list(found)
    (time,) = [one["values"] for one in told if one["quantity"] == "latency_s"]
    assert len(time) == 100
    assert min(time) > 0
    with pytest.raises(LilliputError, match="judged by compare --task"):
        run("measure", folder, "--env", "Hopper-v5")


def test_what_is_for_policies_says_so_of_a_language_model(tmp_path):
    with pytest.raises(LilliputError, match="is a language model, and this is for policies"):
        run("shrink", FOLDER / "language", "--env", "CartPole-v1", "-o", tmp_path / "out")


SHORTER = {"classification": (), "detection": ("--workers", "1", "--no-timings"), "generation": ("--workers", "1")}
"""What spares all families but one from processes that import all of it anew."""


@pytest.mark.slow
@pytest.mark.parametrize("family", SHORTER)
def test_the_commands_of_a_family_s_page_run_as_they_stand(family, tmp_path, monkeypatch):
    root = FOLDER.parents[1]
    (tmp_path / "examples").symlink_to(root / "examples", target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```console\n(.*?)```", (root / "docs" / f"models-{family}.md").read_text(), re.S)
    lines = block.replace("\\\n", " ").splitlines()
    assert [line.split()[1] for line in lines] == ["show", "compare", "compress", "export", "check"]
    said = [run(*shlex.split(line)[1:], *SHORTER[family] * (n == 1)).stdout for n, line in enumerate(lines)]
    assert "kept" in said[1]
    assert "golden answers reproduced" in said[-1]
    assert (tmp_path / "results" / "report.html").is_file()


def test_a_graph_is_compressed_and_exported_where_there_is_no_torch(tmp_path):
    static = f"quantize(scheme='static', source={str(DIGITS)!r}, observations=20)"
    codes = "quantize(scheme='weight_only', weight_bits=4)"
    recipes = ["quantize()", static, codes, "half()", "prune_weights(sparsity=0.5)", "prune_units(ratio=0.25)"]
    code = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
        "from lilliput.models.compress import compress\n"
        "from lilliput.models.export import export\n"
        "from lilliput.models.load import load_model\n"
        f"model = load_model({str(FOLDER / 'classifier.onnx')!r}, family='classification')\n"
        f"for n, recipe in enumerate({recipes!r}):\n"
        f"    small = export(compress(model, recipe), 'onnx', {str(tmp_path)!r} + f'/{{n}}')\n"
        "    print(small.model_bytes < model.model_bytes)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.split() == ["True"] * len(recipes)


@pytest.mark.parametrize(
    "recipe", ["half()", "quantize()", 'quantize(scheme="weight_only")', "prune_weights(sparsity=0.5)"]
)
@pytest.mark.parametrize("name", ["classifier", "detector", "diffusion"])
def test_what_a_recipe_makes_is_what_onnx_allows(name, recipe):
    onnx.checker.check_model(graph_of(compress(load_model(str(FOLDER / f"{name}.onnx")), recipe)))
