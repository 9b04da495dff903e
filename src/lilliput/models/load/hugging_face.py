"""Hugging Face causal language models: folders and hub ids, from safetensors alone."""

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

from lilliput.errors import LilliputError
from lilliput.models.library import transformers
from lilliput.models.load.loader import Loader, Request
from lilliput.models.model import Model, Module, Port, Provenance
from lilliput.models.text import Tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_NOT_THE_NETWORK = {"_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype"}
"""Of a config: where it was, who wrote it, and what the weights say themselves."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@final
@dataclass(frozen=True)
class HuggingFace(Loader):
    """A folder with config.json, safetensors and tokenizer.json, or the id of one on the hub."""

    NAME: ClassVar[str] = "hugging_face"
    WHAT: ClassVar[str] = "Hugging Face folders and hub ids of causal language models"

    def recognise(self, request: Request) -> bool:
        """Whether it is a folder with a config, or what only a hub id can be."""
        path = Path(request.source)
        if path.exists():
            return path.is_dir() and (path / "config.json").is_file()
        return _HUB_ID.fullmatch(request.source) is not None

    def load(self, request: Request) -> Model:
        """The model in the precision in which its weights are stored; no code of the folder runs."""
        library = transformers()
        folder = Path(request.source) if Path(request.source).is_dir() else None
        if folder is not None:
            _check_folder(folder)
        offline = folder is not None or os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0")
        where: dict[str, Any] = {
            "trust_remote_code": False,
            "local_files_only": offline,
            "revision": request.revision or "main",
        }
        try:
            config = library.AutoConfig.from_pretrained(request.source, **where)
            check_config(config, request.source)
            # What was looked up is what is read: a branch may move in between.
            commit = getattr(config, "_commit_hash", None) or ""
            where["revision"] = commit or where["revision"]
            module, info = library.AutoModelForCausalLM.from_pretrained(
                request.source, config=config, use_safetensors=True, output_loading_info=True, dtype="auto", **where
            )
            tokenizer = library.AutoTokenizer.from_pretrained(request.source, **where)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError, ImportError) as error:
            raise LilliputError(f"{request.source!r} cannot be read: {' '.join(str(error).split())[:240]}") from error
        check_complete(info, request.source)
        dtype = str(module.dtype).removeprefix("torch.")
        guesses = ()
        if folder is None and not request.revision:
            guesses = (f"no revision was given: the hub's main is {commit or 'unknown'}; pin it as revision",)
        sha256 = "" if folder is None else _sha256(folder)
        return language_model(
            module,
            tokenizer,
            Provenance(request.source, commit, sha256, self.NAME, dtype, guesses),
        )


def language_model(module: "PreTrainedModel", tokenizer: Any, provenance: Provenance) -> Model:
    """The model around a transformers module.

    Raises:
        LilliputError: the tokenizer is not one that reads text by a tokenizer.json alone.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise LilliputError(f"{provenance.source!r} has no tokenizer.json; save its tokenizer as a fast one first")
    module = module.eval().requires_grad_(False)
    vocabulary = int(module.config.get_text_config().vocab_size)
    if len(tokenizer) > vocabulary:
        raise LilliputError(
            f"{provenance.source!r}: the tokenizer has {len(tokenizer)} tokens, the model {vocabulary}: not a pair"
        )
    config = {key: value for key, value in module.config.to_dict().items() if key not in _NOT_THE_NETWORK}
    return Model(
        Module(module, json.dumps(config, sort_keys=True, default=str)),
        "language",
        (Port("input_ids", "int64", ("batch", "tokens")),),
        (Port("logits", "float32", ("batch", "tokens", vocabulary)),),
        Tokenizer(tokenizer),
        provenance=provenance,
    )


def check_config(config: Any, source: str) -> None:
    """Check that the weights are not quantized by a method that is not read.

    Raises:
        LilliputError: they are.
    """
    quantized = getattr(config, "quantization_config", None)
    if quantized is not None:
        method = quantized.get("quant_method") if isinstance(quantized, dict) else quantized.quant_method
        raise LilliputError(
            f"{source!r} is quantized already ({str(getattr(method, 'value', method))[:40]}); give the original model, "
            "or a GGUF file"
        )
    if getattr(config, "is_encoder_decoder", False):
        raise LilliputError(f"{source!r} is an encoder with a decoder; causal language models are read")


def check_complete(info: Any, source: str) -> None:
    """Check that every weight was in the files and every one in the files was read.

    Raises:
        LilliputError: the library would have made weights up, or left some unread.
    """
    for kind, what in (
        ("missing_keys", "are not in its files"),
        ("mismatched_keys", "have another shape than its config says"),
        ("unexpected_keys", "are in its files and in no layer"),
    ):
        names = sorted(map(str, info.get(kind) or ()))
        if names:
            raise LilliputError(f"{source!r}: {len(names)} weights {what}: {', '.join(names)[:120]}")


def _check_folder(folder: Path) -> None:
    if not list(folder.glob("*.safetensors")):
        pickles = [path.name for path in sorted(folder.glob("*.bin"))]
        found = (
            f"it holds {pickles[0]}, a pickle; save it as safetensors" if pickles else "there is no safetensors file"
        )
        raise LilliputError(f"{folder}: {found}")
    if not (folder / "tokenizer.json").is_file():
        raise LilliputError(f"{folder}: there is no tokenizer.json; save the tokenizer beside the model")


def _sha256(folder: Path) -> str:
    sha = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            sha.update(hashlib.file_digest(file, "sha256").digest())
    return sha.hexdigest()
