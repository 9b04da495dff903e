"""Models on the command line that are no policies: which sources are, and what show, compress, export and check do."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lilliput.cli.progress import say_guesses
from lilliput.errors import LilliputError
from lilliput.files import write_whole

if TYPE_CHECKING:
    from lilliput.models.model import Model

FAMILIES = ("language", "classification", "detection", "generation")

_OPTIONS = (
    click.option(
        "--family", type=click.Choice(FAMILIES), help="SOURCE is a model that is no policy; what it answers to."
    ),
    click.option(
        "--module", help="Of a model: what makes the network of a bare state dict: python:FILE.py:function, timm:NAME."
    ),
    click.option("--picture", help="Of a model: how it sees pictures: 'picture(size=224, mean=(0.5, 0.5, 0.5))'."),
)


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command with the options that say what a model's file does not."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def is_model(source: Path, told: Mapping[str, str | None]) -> bool:
    """Whether the source is no policy: what was said only models have, or its layout is a language model's."""
    if any(told.values()) or source.suffix.lower() == ".gguf":
        return True
    if not source.exists():
        if ":" in str(source):
            return True
        raise LilliputError(f"{source} does not exist; where it is a model's hub id, say what it answers to: --family")
    if _is_of_pictures(source):
        return True
    return (source / "config.json").is_file() and (source / "tokenizer.json").is_file()


def _is_of_pictures(folder: Path) -> bool:
    """Whether it is a folder of a classifier, a detector or a network of diffusers, which none of policies is."""
    return (folder / "preprocessor_config.json").is_file() or (folder / "model_index.json").is_file()


def hint(source: Path) -> str:
    """How to say that the source is no policy, where it may be none: an ONNX file of pictures or tokens; else ""."""
    import onnx
    from google.protobuf.message import DecodeError

    if source.suffix.lower() != ".onnx":
        return ""
    try:
        inputs = onnx.load(source, load_external_data=False).graph.input
    except (OSError, DecodeError, ValueError):
        return ""
    types = [one.type.tensor_type for one in inputs]
    if any(len(one.shape.dim) == 4 or one.elem_type == onnx.TensorProto.INT64 for one in types):
        return "; if it is no policy, say what it answers to: --family, or --task of compare"
    return ""


def load(source: Path, told: Mapping[str, str | None], *, quiet: bool = False) -> "Model":
    """The model; what its loader guessed stands on stderr unless `quiet`."""
    from lilliput.models.load import load_model

    given: dict[str, Any] = {name: value for name, value in told.items() if value}
    model = load_model(str(source), **given)
    if not quiet:
        say_guesses(model.provenance.guesses)
    return model


def show(source: Path, told: Mapping[str, str | None], *, as_json: bool) -> str:
    """What the model holds: its ports, its sizes, its linear layers."""
    from lilliput.models.linear import linear_of

    model = load(source, told, quiet=True)
    layers = [
        {
            "name": one.name,
            "shape": list(one.array.shape),
            "dtype": str(one.array.dtype),
            "zeros": int(one.is_zero.sum()),
        }
        for one in linear_of(model)
    ]
    if as_json:
        found = {
            **dataclasses.asdict(model.provenance),
            "family": model.family,
            "inputs": [dataclasses.asdict(port) for port in model.inputs],
            "outputs": [dataclasses.asdict(port) for port in model.outputs],
            "digest": model.digest,
            "n_parameters": model.n_parameters,
            "n_nonzero_parameters": model.n_nonzero_parameters,
            "model_bytes": model.model_bytes,
            "layers": layers,
        }
        return json.dumps(found, indent=1)
    told_of = model.provenance
    facts = [
        ("source", told_of.source),
        ("family", model.family),
        ("weights", told_of.weights),
        ("takes", "; ".join(_port(port) for port in model.inputs)),
        ("gives", "; ".join(_port(port) for port in model.outputs)),
        ("parameters", f"{model.n_parameters:,} ({model.n_nonzero_parameters:,} not zero)"),
        ("model bytes", f"{model.model_bytes:,}"),
        ("digest", model.digest[:16]),
        *(("guessed", guess) for guess in told_of.guesses),
    ]
    lines = [f"{name:<12} {value}" for name, value in facts if value]
    lines += ["", f"{'linear layer':<48} {'shape':>18} {'weights':>8}"]
    for one in layers:
        name = one["name"] if len(one["name"]) <= 48 else "..." + one["name"][-45:]
        lines.append(f"{name:<48} {'x'.join(map(str, one['shape'])):>18} {one['dtype']:>8}")
    return "\n".join(lines)


def compress(source: Path, told: Mapping[str, str | None], recipe: str, seed: int, out: Path) -> Any:
    """The model before and after; writes the small one: an ONNX file, of a language model a transformers folder.

    Raises:
        LilliputError: the output is named otherwise, or the recipe cannot be honoured.
    """
    from lilliput.models.compress import Context, parse
    from lilliput.models.compress import compress as apply
    from lilliput.models.graph import graph_of
    from lilliput.models.model import has_blocks

    steps = parse(recipe)
    model = load(source, told)
    folder = has_blocks(model)
    if not folder and out.suffix != ".onnx":
        raise LilliputError(f"{out} must end in .onnx: what is made of this model of {model.family} is an ONNX file")
    if folder and out.exists():
        raise LilliputError(f"{out} exists; choose another name or remove it")
    small = apply(model, steps, Context(model, seed=seed, say=lambda said: click.echo(f"note: {said}", err=True)))
    if folder:
        export(small, "transformers", out)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, graph_of(small).SerializeToString(deterministic=True))
    return model, small


def export(model: "Model", format_: str, out: Path) -> Any:
    """The artifact, written whole or not at all; what it is worth knowing of it stands on stderr."""
    from lilliput.models.export import export as write

    artifact = write(model, format_, out)
    for note in artifact.notes:
        click.echo(f"note: {note}", err=True)
    return artifact


def refuse(source: Path) -> None:
    """Check that the source is a policy, as far as its layout tells.

    Raises:
        LilliputError: it is a language model.
    """
    if is_model(source, {}):
        raise LilliputError(
            f"{source} is a language model, and this is for policies; models have show, compress, export, check, "
            "compare --task and study"
        )


def _port(port: Any) -> str:
    return f"{port.name} {port.dtype}[{', '.join(map(str, port.axes))}]"
