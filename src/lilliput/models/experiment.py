"""One cell of a study of models: build an artifact of a recipe, put a task to it, and what chance would have answered.

Items are numbers of a task's own items, so that two models are paired where task and numbers are the same.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from lilliput.errors import LilliputError
from lilliput.models import location
from lilliput.models.compress import Context, compress, parse
from lilliput.models.export import MANIFEST, Artifact, check, export, open_artifact, read_artifact
from lilliput.models.library import transformers
from lilliput.models.load.hugging_face import language_model
from lilliput.models.model import Graph, Model, Module, Provenance
from lilliput.models.session import OnnxSession, Session, TorchSession, open_session
from lilliput.models.task import Task
from lilliput.models.text import MADE, Tokenizer

Progress = Callable[[str, int, int], None]


def names(model: Model) -> tuple[tuple[str, str], ...]:
    """What people call the model, for tables."""
    told = model.provenance
    return (("source", told.source), ("algorithm", model.family), ("trained_on", ""), ("weights", told.weights))


def caveats(model: Model, task: Task) -> tuple[str, ...]:
    """What a reader of its results has to know, a sentence each: what its loader guessed or found quantized already,
    and what the task takes for granted.

    Raises:
        LilliputError: the task cannot be asked of the model.
    """
    try:
        return (*model.provenance.guesses, *task.guesses(model))
    except LilliputError as error:
        raise LilliputError(f"{model.provenance.source}: {error}") from error


def check_task(model: Model, task: Task) -> None:
    """Check that the model can be asked, before cells are.

    Raises:
        NotApplicable: it is none that the task is for.
        LilliputError: the task's items cannot be had.
    """
    task.check(model, open_session(model))


def check_sources(recipe: str, task: Task) -> None:
    """Check that the task asks nothing that the recipe calibrates on.

    Raises:
        LilliputError: it does.
    """
    for step in parse(recipe):
        for source in step.sources:
            _check_source(task, source, task.data_digest, "" if source in MADE else location.digest(source))


@lru_cache(maxsize=256)
def _check_source(task: Task, source: str, *digests: str) -> None:
    del digests  # what tells whether the files are still the same
    task.check_source(source)


def build(
    model: Model, recipe: str, format: str, folder: Path, *, draw: int, seed: int = 0, progress: Progress | None = None
) -> Artifact:
    """The artifact of the model after the recipe, calibrated on that draw of each of its sources.

    Raises:
        NotApplicable: a step has nothing to do on this model.
        LilliputError: the recipe cannot be honoured, or the artifact answers otherwise than the compressed model.
    """
    small = model
    if recipe:
        small = compress(model, recipe, Context(model, seed=seed, draw=draw, progress=progress))
    return export(small, format, folder)


def measure(
    folder: Path, task: Task, items: Sequence[int], progress: Progress | None = None
) -> Float64[np.ndarray, " items"]:
    """The artifact's value of each item; more is better.

    Raises:
        LilliputError: it cannot be opened or asked, or there are fewer items.
    """
    model, session = opened(folder)
    return _asked(model, session, task, items, progress)


def answer(
    model: Model, task: Task, items: Sequence[int], progress: Progress | None = None
) -> Float64[np.ndarray, " items"]:
    """The value that the model itself has of each item, without an artifact."""
    return _asked(model, open_session(model), task, items, progress)


def chance(model: Model, task: Task, items: Sequence[int]) -> Float64[np.ndarray, " items"]:
    """The value that an answer by chance has of each item."""
    n_tokens = 0 if model.tokenizer is None else model.tokenizer.n_tokens
    return _picked(task.floor(n_tokens).values, items, task)


def identity(model: Model, format: str, folder: Path) -> Path:
    """The folder of an artifact that takes what the model takes and gives it back: what its runtime alone weighs.

    Raises:
        LilliputError: the format holds no such thing.
    """
    from onnx import helper

    if format != "onnx":
        export(_next_to_nothing(model), format, folder)
        return folder
    infos: dict[str, list[Any]] = {"inputs": [], "outputs": []}
    nodes, ports = [], []
    for port in model.inputs:
        same = dataclasses.replace(port, name=f"{port.name}.same")
        for listed, one in (("inputs", port), ("outputs", same)):
            kind = helper.np_dtype_to_tensor_dtype(np.dtype(one.dtype))
            infos[listed].append(helper.make_tensor_value_info(one.name, kind, list(one.axes)))
        nodes.append(helper.make_node("Identity", [port.name], [same.name]))
        ports.append(same)
    graph = helper.make_graph(nodes, "identity", infos["inputs"], infos["outputs"])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    export(Model(Graph(proto), model.family, model.inputs, tuple(ports), model.tokenizer), format, folder)
    return folder


def _next_to_nothing(model: Model) -> Model:
    """A language model of the same vocabulary with two numbers a token: what torch and transformers alone weigh.

    Raises:
        LilliputError: the model is of another family.
    """
    if model.tokenizer is None:
        raise LilliputError(f"a model of {model.family} has no artifact without weights but in onnx")
    library = transformers()
    config = library.LlamaConfig(
        vocab_size=model.tokenizer.n_tokens,
        hidden_size=2,
        intermediate_size=2,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        bos_token_id=model.tokenizer.bos,
        eos_token_id=None,
    )
    network = library.LlamaForCausalLM(config)
    return language_model(network, model.tokenizer.library, Provenance(source="identity"))


def item_s(model: Model, task: Task) -> float:
    """Wall seconds that one item takes, after a first go over all of them."""
    session = open_session(model)
    task.ask(model, session)
    start = time.perf_counter()
    n = len(task.ask(model, session).values)
    return (time.perf_counter() - start) / n


def is_sound(folder: Path) -> bool:
    """Whether the artifact gives its golden answers."""
    try:
        check(folder, opened(folder)[1])
    except LilliputError:
        return False
    return True


def opened(folder: Path) -> tuple[Model, Session]:
    """An artifact as those who get it have it: what it answers with, and how it is to be asked.

    The last one stays open: a study asks all of its tasks one after the other.
    """
    return _opened(folder, (folder / MANIFEST).stat().st_mtime_ns if (folder / MANIFEST).exists() else 0)


@lru_cache(maxsize=1)
def _opened(folder: Path, changed: int) -> tuple[Model, Session]:
    del changed
    artifact, session = read_artifact(folder), open_artifact(folder)
    tokenizer = None
    if (folder / "tokenizer.json").exists():
        library = transformers().AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        vocabulary = artifact.outputs[0].axes[-1]
        tokenizer = Tokenizer(library, vocabulary if isinstance(vocabulary, int) else None)
    match session:
        case TorchSession(module=module):
            network = Module(module, "")
        case OnnxSession():
            import onnx

            network = Graph(onnx.load(next(iter(sorted(folder.glob("*.onnx"))))))
        case _:
            raise LilliputError(f"{folder}: an artifact that is run by {type(session).__name__} cannot be asked")
    model = Model(
        network,
        artifact.family,
        artifact.inputs,
        artifact.outputs,
        tokenizer,
        artifact.picture,
        artifact.decoder,
        provenance=artifact.provenance,
    )
    return model, session


def _asked(
    model: Model, session: Session, task: Task, items: Sequence[int], progress: Progress | None
) -> Float64[np.ndarray, " items"]:
    told = None if progress is None else lambda done, of: progress(task.NAME, done, of)
    return _picked(task.ask(model, session, told).values, items, task)


def _picked(values: Float64[np.ndarray, " all"], items: Sequence[int], task: Task) -> Float64[np.ndarray, " items"]:
    if len(items) and not 0 <= min(items) <= max(items) < len(values):
        raise LilliputError(f"{task.NAME} has {len(values)} items; item {max(items)} was asked for")
    return values[np.array(items, np.int64)]
