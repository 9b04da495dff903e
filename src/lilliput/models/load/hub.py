"""Hub ids: what of a repository is fetched, and from which commit. Data alone is: no pickle, no code."""

import dataclasses
import re
from pathlib import Path

from lilliput.errors import LilliputError
from lilliput.models.library import hub_refusals, is_offline, library
from lilliput.models.load.loader import LoadRequest
from lilliput.models.model import Model

_ID = re.compile(r"([A-Za-z0-9][\w.-]*/[\w.-]+)((?:/[\w.-]+)*)")
_KINDS = ("json", "safetensors", "txt")
"""Configs, weights, and the vocabularies that some tokenizers keep as lines of text."""

_SINGLE = (".gguf", ".onnx", ".safetensors")
"""Files that are asked for by their name in a repository."""

_OTHERS = ("*.fp16.*", "*.non_ema.*")
"""The same weights once more."""


def is_hub_id(source: str) -> bool:
    """Whether the text can be nothing but the id of a repository, or of a folder or file in one.

    >>> [is_hub_id(text) for text in ("HuggingFaceTB/SmolLM2-135M", "google/ddpm-celebahq-256/unet", "./a/b", "model")]
    [True, True, False, False]
    """
    # A path whose folder is here but whose file is not is a slip, and asks nothing of the network.
    return _ID.fullmatch(source) is not None and not Path(source.split("/")[0]).exists()


def fetched(source: str, revision: str) -> tuple[Path, str]:
    """Where the repository, folder or file lies now, and the commit that it is of.

    Args:
        source: `organization/name`, with a folder or a file behind it or not.
        revision: a branch, tag or commit; empty: what the repository's main branch is.

    Raises:
        LilliputError: there is no such thing, or it cannot be reached.
        MissingDependency: huggingface_hub is not installed.
    """
    hub = library("huggingface_hub", "language")
    found = _ID.fullmatch(source)
    assert found is not None
    repository, inside = found[1], found[2].removeprefix("/")
    offline = is_offline()
    try:
        folder = Path(
            hub.snapshot_download(
                repository,
                revision=revision or None,
                allow_patterns=_wanted(inside),
                ignore_patterns=[*_OTHERS, f"{inside}/*/*" if inside else "*/*"],
                local_files_only=offline,
            )
        )
    except hub_refusals() as error:
        where = "was not fetched before, and HF_HUB_OFFLINE forbids the network" if offline else "cannot be fetched"
        shown = "" if offline else f": {' '.join(str(error).split())[:160]}"
        at = f" at {revision[:60]!r}" if revision else ""
        raise LilliputError(f"{source!r} is no file here, and as a hub id{at} it {where}{shown}") from error
    if not (folder / inside).exists():
        raise LilliputError(f"the hub's {repository!r} has no {inside!r} with data that is read: {', '.join(_KINDS)}")
    return folder / inside, folder.name


def _wanted(inside: str) -> list[str]:
    if inside.endswith(_SINGLE):
        # A language model's tokenizer stands beside its graph, or beside the folder of all graphs.
        words = ["tokenizer*.json", "*/tokenizer*.json", "special_tokens_map.json"] if inside.endswith(".onnx") else []
        return [inside, f"{inside}_data", f"{inside}.data", *words]
    begin = f"{inside}/" if inside else ""
    # A diffusion model's scheduler says how it was trained.
    return [*(f"{begin}*.{kind}" for kind in _KINDS), "scheduler/scheduler_config.json"]


def pinned(model: Model, repository: str, request: LoadRequest, commit: str) -> Model:
    """The model, whose provenance says of which commit it is, and that nobody pinned it where nobody did."""
    origin = model.provenance
    guessed = (
        f"no revision was given: the main branch of {repository} is {commit} now; pin it as {request.source}@{commit}"
    )
    guesses = origin.guesses if request.revision else (*origin.guesses, guessed)
    origin = dataclasses.replace(origin, source=request.source, revision=commit, guesses=guesses)
    return dataclasses.replace(model, provenance=origin)
