"""What cannot be done is refused in one line before any cell runs, and before a folder is made."""

import inspect

import pytest
from click.testing import CliRunner

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.models.made import small_folder, text_file

from lilliput.cli import cli
from lilliput.errors import LilliputError
from lilliput.models.compress import STEPS, compress, parse
from lilliput.models.load import load_model

LANGUAGE = {
    'quantize(weight_bits=4, method="gptq", source="nowhere.txt")': "quantize: source 'nowhere.txt' does not exist",
    'quantize() | lora(steps=1, source="nowhere.txt")': "lora: source 'nowhere.txt' does not exist",
    'prune_weights(sparsity=0.5, importance="wanda", source=".")': "prune_weights: source '.' is a folder",
    "prune_units(ratio=0.5)": "prune_units: channels of ONNX graphs are removed",
    'quantize(scheme="dynamic")': "quantize: a language model has scheme 'weight_only'",
}
PICTURES = {
    'quantize(scheme="static", source="nowhere")': "quantize: source 'nowhere' does not exist",
    'finetune(steps=1, source="nowhere")': "finetune: source 'nowhere' does not exist",
    'finetune(steps=1, source="random")': "finetune: source 'random' does not exist",
    'quantize(method="gptq", source="c4")': "quantize: GPTQ, SpQR and symmetric=False are for language models",
    'lora(source="self")': "lora: adapters are for language models",
    'prune_weights(sparsity=0.5, importance="wanda", source="self")': "prune_weights: importance 'wanda' is for",
    "quantize(weight_bits=4)": "quantize: a model of classification has 8 bits",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_folder(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize(("recipe", "reason"), LANGUAGE.items())
def test_of_a_language_model(folder, tmp_path, recipe, reason):
    text = text_file(tmp_path / "text.txt")
    _refused(tmp_path, reason, "compare", str(folder), "--task", f'perplexity("{text}", tokens=32)', "-r", recipe)
    study = f"""
models = ["{folder}"]
tasks = ['perplexity("{text}", windows=4, tokens=32)']
recipes = ['''{recipe}''']
formats = ["transformers"]
"""
    (tmp_path / "study.toml").write_text(study)
    _refused(tmp_path, reason, "study", "run", str(tmp_path / "study.toml"))
    with pytest.raises(LilliputError, match=reason[:20]):
        compress(load_model(str(folder)), recipe)


@pytest.mark.parametrize(("recipe", "reason"), PICTURES.items())
def test_of_a_model_of_pictures(tmp_path, recipe, reason):
    task = "images:examples/models/digits.npz"
    _refused(tmp_path, reason, "compare", "examples/models/classifier.onnx", "--task", task, "-r", recipe)


def test_an_adapter_alone_is_told_from_a_model(tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(LilliputError, match=r"is an adapter of PEFT, a part of a model; merge it into that"):
        load_model(str(tmp_path))


def test_every_step_that_reads_a_source_says_so():
    given = {"quantize": 'method="gptq", source="s"', "prune_weights": 'sparsity=0.1, importance="wanda", source="s"',
             "lora": 'source="s"', "finetune": 'steps=1, source="s"'}  # fmt: skip
    reading = {name for name, step in STEPS.items() if "source" in inspect.signature(step).parameters}
    assert reading == set(given)
    assert all(parse(f"{name}({arguments})")[0].sources == ("s",) for name, arguments in given.items())


def _refused(tmp_path, reason, *command):
    done = CliRunner().invoke(cli, [*command, "-o", str(tmp_path / "out")])
    said = str(done.exception) if isinstance(done.exception, LilliputError) else done.output
    assert done.exit_code == 1, done.output
    assert reason in said
    assert "\n" not in said.strip()
    assert not (tmp_path / "out").exists()
