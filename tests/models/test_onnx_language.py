"""Language models as ONNX graphs, as optimum exports them: asked by tokens alone, made small as graphs."""

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner
from tests.models.made import small_folder, text_file

from lilliput.cli import cli
from lilliput.errors import LilliputError
from lilliput.models import file
from lilliput.models.compress import check, compress, parse
from lilliput.models.export import export, open_artifact
from lilliput.models.export.golden import read_golden
from lilliput.models.load import load_model
from lilliput.models.session import open_session
from lilliput.models.task import parse_task

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

BLOCKS, HEADS, WIDTH = 2, 2, 8
IDS = np.random.default_rng(0).integers(3, 200, (2, 12))


class Decoder(torch.nn.Module):
    """What is exported: tokens, a mask, positions and what came before; logits, and what comes to it."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, position_ids, *past):
        cache = transformers.DynamicCache()
        for at in range(BLOCKS):
            cache.update(past[2 * at], past[2 * at + 1], at)
        found = self.model(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, past_key_values=cache
        )
        return found.logits, *(part for one in found.past_key_values.layers for part in (one.keys, one.values))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder as optimum writes it: the graph in onnx/, config and tokenizer above."""
    source = small_folder(tmp_path_factory.mktemp("source"), tied=False)
    model = transformers.AutoModelForCausalLM.from_pretrained(source, attn_implementation="eager").eval()
    here = tmp_path_factory.mktemp("exported")
    (here / "onnx").mkdir()
    kept = [f"{at}.{kind}" for at in range(BLOCKS) for kind in ("key", "value")]
    names = ["input_ids", "attention_mask", "position_ids", *(f"past_key_values.{one}" for one in kept)]
    outputs = ["logits", *(f"present.{one}" for one in kept)]
    axes = {name: {0: "batch", 2: "past"} for name in names[3:]}
    axes |= {name: {0: "batch", 2: "all"} for name in outputs[1:]}
    axes |= {name: {0: "batch", 1: "sequence_length"} for name in ("input_ids", "position_ids", "logits")}
    axes["attention_mask"] = {0: "batch", 1: "all"}
    past = [torch.rand(2, HEADS, 3, WIDTH) for _ in kept]
    where = torch.arange(3, 7).repeat(2, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Decoder(model), (torch.randint(3, 200, (2, 4)), torch.ones(2, 7, dtype=torch.long), where, *past),
            str(here / "onnx" / "model.onnx"), dynamo=False, opset_version=17, input_names=names, output_names=outputs,
            dynamic_axes=axes,
        )  # fmt: skip
    for path in source.iterdir():
        if path.suffix == ".json":
            shutil.copy(path, here)
    shutil.copytree(source, here / "torch")
    return here


def graph(folder) -> str:
    return str(folder / "onnx" / "model.onnx")


def test_it_answers_as_the_folder_that_it_was_exported_from(folder, tmp_path):
    model, before = load_model(graph(folder), family="language"), load_model(str(folder / "torch"))
    wanted = open_session(before).answer({"input_ids": IDS})["logits"]
    found = open_session(model).answer({"input_ids": IDS})
    assert set(found) == {"logits"}
    np.testing.assert_allclose(found["logits"], wanted, atol=1e-4)
    (said,) = model.provenance.guesses
    assert said.startswith("it takes attention_mask, position_ids, past_key_values.0.key ... besides tokens: every")
    task = parse_task(f'perplexity(text="{text_file(tmp_path / "t.txt")}", windows=4, tokens=32)')
    one, other = (task.ask(asked, open_session(asked)).values for asked in (model, before))
    np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize(
    "recipe",
    ["quantize()", 'quantize(scheme="weight_only")', "half()", "prune_weights(sparsity=0.5)",
     "prune_weights(sparsity=0.5) | half()"],
)  # fmt: skip
def test_it_is_made_small_as_a_graph_that_takes_and_gives_what_it_did(folder, tmp_path, recipe):
    model = load_model(graph(folder), family="language")
    small = compress(model, recipe)
    export(small, "onnx", tmp_path / "out")
    assert (tmp_path / "out" / "tokenizer.json").exists()
    assert read_golden(tmp_path / "out")[0]["input_ids"].shape == (2, 16)  # what an answer is timed on
    assert small.model_bytes < (0.8 if "half" not in recipe else 0.6) * model.model_bytes
    one, other = (onnxruntime.InferenceSession(path) for path in (graph(folder), str(tmp_path / "out" / "model.onnx")))
    for ports in ("get_inputs", "get_outputs"):
        assert [(p.name, p.type) for p in getattr(one, ports)()] == [(p.name, p.type) for p in getattr(other, ports)()]
    if "prune" not in recipe:
        wanted = open_session(model).answer({"input_ids": IDS})["logits"]
        found = open_artifact(tmp_path / "out").answer({"input_ids": IDS})["logits"]
        assert np.abs(found - wanted).max() < 0.1 * np.abs(wanted).max()


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ('quantize(method="gptq", source="random")', "as torch modules; this is an ONNX graph"),
        ('quantize(scheme="static", source="random")', "of a language model: 'dynamic'"),
        ('prune_weights(sparsity=0.5, importance="wanda", source="random")', "this is an ONNX graph: use 'magnitude'"),
        ('finetune(steps=1, source="random")', "needs a torch module"),
        ('lora(rank=2, source="random")', "needs a torch module"),
    ],
)
def test_what_goes_through_blocks_says_that_it_needs_them(folder, recipe, message):
    with pytest.raises(LilliputError, match=message):
        check(load_model(graph(folder), family="language"), parse(recipe))


def test_it_is_compared_from_the_command_line_and_kept_whole(folder, tmp_path):
    text = text_file(tmp_path / "t.txt")
    command = ["compare", graph(folder), "--task", f'perplexity(text="{text}", windows=4, tokens=32)', "--no-timings",
               "-r", "half()", "--workers", "1", "-o", str(tmp_path / "out"), "--json"]  # fmt: skip
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["rows"]
    assert rows[1]["smaller"] > 1.9
    model = load_model(graph(folder), family="language")
    assert file.read(file.write(model, tmp_path / "kept")).digest == model.digest
    small = str(tmp_path / "small" / "model.onnx")
    result = CliRunner().invoke(cli, ["compress", graph(folder), "--family", "language", "-r", "half()", "-o", small])
    assert result.exit_code == 0, result.output
    onnxruntime.InferenceSession(small)


def test_what_is_no_such_graph_is_a_line(folder, tmp_path):
    with pytest.raises(LilliputError, match=r"its network is an ONNX graph; give that file: .*model\.onnx"):
        load_model(str(folder))
    shutil.copy(graph(folder), tmp_path / "m.onnx")
    with pytest.raises(LilliputError, match=r"'m\.onnx' has no tokenizer\.json beside it"):
        load_model(str(tmp_path / "m.onnx"), family="language")
    made = onnx.load(graph(folder))
    for node in made.graph.node:
        for at, name in enumerate(node.input):
            node.input[at] = "strange" if name == "attention_mask" else name
    made.graph.input[1].name = "strange"
    onnx.save(made, str(folder / "onnx" / "strange.onnx"))
    model = load_model(str(folder / "onnx" / "strange.onnx"), family="language")
    (folder / "onnx" / "strange.onnx").unlink()
    with pytest.raises(LilliputError, match="takes strange besides input_ids, which nothing here gives it"):
        open_session(model).answer({"input_ids": IDS})
    shutil.copy(Path(__file__).parents[2] / "examples" / "models" / "classifier.onnx", folder / "c.onnx")
    with pytest.raises(LilliputError, match="a language model takes input_ids"):
        load_model(str(folder / "c.onnx"), family="language")
    (folder / "c.onnx").unlink()


def with_positions(n_tokens: int, longest: int) -> bytes:
    """A graph that adds what stands for each place of a text, of which there are so many."""
    rng = np.random.default_rng(0)
    make, tensor = onnx.helper.make_node, onnx.numpy_helper.from_array
    nodes = [
        make("Shape", ["input_ids"], ["length"], start=1, end=2),
        make("Squeeze", ["length"], ["count"]),
        make("Range", ["zero", "count", "one"], ["places"]),
        make("Gather", ["positions", "places"], ["where"]),
        make("Gather", ["tokens", "input_ids"], ["what"]),
        make("Add", ["what", "where"], ["logits"]),
    ]
    constants = [
        tensor(np.array(0), "zero"),
        tensor(np.array(1), "one"),
        tensor(rng.normal(size=(longest, n_tokens)).astype(np.float32), "positions"),
        tensor(rng.normal(size=(n_tokens, n_tokens)).astype(np.float32), "tokens"),
    ]
    real = onnx.helper.make_tensor_value_info
    ports = (
        [real("input_ids", onnx.TensorProto.INT64, ["batch", "sequence"])],
        [real("logits", onnx.TensorProto.FLOAT, ["batch", "sequence", n_tokens])],
    )
    made = onnx.helper.make_graph(nodes, "positions", *ports, constants)
    model = onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


@pytest.mark.parametrize("task", ["perplexity", "choices"])
def test_more_tokens_than_a_graph_reads_are_refused_with_how_many_it_reads(folder, tmp_path, task) -> None:
    """A graph does not say it, and onnxruntime's own words for it are of an index somewhere inside."""
    shutil.copytree(folder, tmp_path / "model", ignore=shutil.ignore_patterns("torch", "onnx"))
    size = json.loads((tmp_path / "model" / "config.json").read_text())["vocab_size"]
    (tmp_path / "model" / "model.onnx").write_bytes(with_positions(size, 20))
    model = load_model(str(tmp_path / "model" / "model.onnx"), family="language")
    if task == "perplexity":
        text = text_file(tmp_path / "text.txt")
        asked, said = f'perplexity(text="{text}", windows=4, tokens={{}})', "tokens is 24"
        parse_task(asked.format(20)).check(model, open_session(model))
        asked = asked.format(24)
    else:
        lines = [{"context": "a b c d " * 8, "choices": ["one", "two"], "answer": 0}] * 3
        (tmp_path / "asked.jsonl").write_text("\n".join(map(json.dumps, lines)))
        asked, said = f'choices(questions="{tmp_path / "asked.jsonl"}")', "the longest question has"
    with pytest.raises(LilliputError, match=f"{task}: {said}.*; the model reads at most 20 at once"):
        parse_task(asked).check(model, open_session(model))
