"""Hugging Face causal language models: folders and hub ids, from safetensors alone."""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

from lilliput.errors import LilliputError
from lilliput.models.device import placed
from lilliput.models.library import transformers
from lilliput.models.load.loader import Loader, LoadRequest, check_family
from lilliput.models.model import Model, Module, Port, Provenance
from lilliput.models.text import Tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_NOT_THE_NETWORK = {"_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype"}
"""Of a config: where it was, who wrote it, and what the weights say themselves."""


@final
@dataclass(frozen=True)
class HuggingFace(Loader):
    """A folder with config.json, safetensors and tokenizer.json."""

    NAME: ClassVar[str] = "hugging_face"
    WHAT: ClassVar[str] = "Hugging Face folders and hub ids of causal language models"

    def recognise(self, request: LoadRequest) -> bool:
        """Whether it is a folder with a config."""
        return (Path(request.source) / "config.json").is_file()

    def load(self, request: LoadRequest) -> Model:
        """The model in the precision in which its weights are stored; no code of the folder runs."""
        check_family(request, "language")
        library = transformers()
        folder = Path(request.source)
        check_weights(folder)
        if not (folder / "tokenizer.json").is_file():
            raise LilliputError(f"{folder}: there is no tokenizer.json; save the tokenizer beside the model")
        where: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
        with readable(folder):
            config = library.AutoConfig.from_pretrained(folder, **where)
            check_config(config, request.source)
            if getattr(config, "is_encoder_decoder", False):
                raise LilliputError(f"{request.source!r} is an encoder with a decoder; causal language models are read")
            module, info = library.AutoModelForCausalLM.from_pretrained(
                folder, config=config, use_safetensors=True, output_loading_info=True, dtype="auto", **where
            )
            tokenizer = library.AutoTokenizer.from_pretrained(folder, **where)
        check_complete(info, request.source)
        dtype = str(module.dtype).removeprefix("torch.")
        provenance = Provenance(request.source, "", weights_sha256(folder), self.NAME, dtype)
        return language_model(module, tokenizer, provenance)


@contextlib.contextmanager
def readable(folder: Path) -> Iterator[None]:
    """Gives whatever a library raises while it reads the folder as one line.

    Raises:
        LilliputError: it raised something.
    """
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError, ImportError) as error:
        said = " ".join(str(error).split())[:240]
        if "trust_remote_code" in said or "custom code" in said:
            said = "it comes with code of its own, which is never run; convert it to an architecture of the library"
        raise LilliputError(f"{str(folder)!r} cannot be read: {said}") from error


def language_model(module: "PreTrainedModel", tokenizer: Any, provenance: Provenance) -> Model:
    """The model around a transformers module.

    Raises:
        LilliputError: the tokenizer is not one that reads text by a tokenizer.json alone.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise LilliputError(f"{provenance.source!r} has no tokenizer.json; save its tokenizer as a fast one first")
    vocabulary = int(module.config.get_text_config().vocab_size)
    if max(tokenizer.vocab_size, (tokenizer.bos_token_id or 0) + 1) > vocabulary:
        raise LilliputError(
            f"{provenance.source!r}: the tokenizer has {len(tokenizer)} tokens, the model {vocabulary}: not a pair"
        )
    config = {key: value for key, value in module.config.to_dict().items() if key not in _NOT_THE_NETWORK}
    return Model(
        Module(placed(module), json.dumps(config, sort_keys=True, default=str)),
        "language",
        (Port("input_ids", "int64", ("batch", "tokens")),),
        (Port("logits", "float32", ("batch", "tokens", vocabulary)),),
        Tokenizer(tokenizer, vocabulary),
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


def check_weights(folder: Path) -> None:
    """Check that the folder has safetensors.

    Raises:
        LilliputError: it has none, or pickles alone.
    """
    if not list(folder.glob("*.safetensors")):
        if graphs := sorted([*folder.glob("*.onnx"), *folder.glob("onnx/*.onnx")]):
            raise LilliputError(f"{folder}: its network is an ONNX graph; give that file: {graphs[0]}")
        pickles = [path.name for kind in ("*.bin", "*.pt", "*.pth", "*.ckpt") for path in sorted(folder.glob(kind))]
        found = (
            f"it holds {pickles[0]}, a pickle, which is not read; save it as safetensors"
            if pickles
            else "there is no safetensors file (pickles are neither fetched nor read)"
        )
        raise LilliputError(f"{folder}: {found}")


def weights_sha256(folder: Path) -> str:
    """sha256 of the folder's safetensors."""
    sha = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            sha.update(hashlib.file_digest(file, "sha256").digest())
    return sha.hexdigest()
