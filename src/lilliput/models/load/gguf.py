"""GGUF files of causal language models, their weights dequantized: what they were quantized to is said."""

import contextlib
import copy
import hashlib
import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, final

from lilliput.errors import LilliputError
from lilliput.models.library import library, transformers
from lilliput.models.load.gguf_rotary import scaled
from lilliput.models.load.gguf_settings import settled
from lilliput.models.load.hugging_face import check_complete, language_model
from lilliput.models.load.loader import Loader, LoadRequest
from lilliput.models.model import Model, Provenance

_REAL = {"F32", "F16", "BF16", "F64"}
_RAISED = (OSError, ValueError, LookupError, TypeError, RuntimeError, AttributeError, ArithmeticError)


@final
@dataclass(frozen=True)
class Gguf(Loader):
    """A GGUF file, by its first four bytes."""

    NAME: ClassVar[str] = "gguf"
    WHAT: ClassVar[str] = "GGUF files"

    def recognise(self, request: LoadRequest) -> bool:
        """Whether the file begins as GGUF does."""
        path = Path(request.source)
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(4) == b"GGUF"

    def load(self, request: LoadRequest) -> Model:
        """The model in float32."""
        path = Path(request.source)
        reader, hub = library("gguf", "language"), transformers()
        refused = library("huggingface_hub.errors", "language").StrictDataclassError
        try:
            read = reader.GGUFReader(path)
            kinds = Counter(tensor.tensor_type.name for tensor in read.tensors)
            where = {"gguf_file": path.name, "trust_remote_code": False, "local_files_only": True}
            config = hub.AutoConfig.from_pretrained(str(path.parent), **where)
            config = scaled(settled(config, read, path.name), read, path.name)
            # What dequantizes draws a bar of its own that no setting leaves out.
            with contextlib.redirect_stderr(io.StringIO()):
                module, info = hub.AutoModelForCausalLM.from_pretrained(
                    str(path.parent), config=config, output_loading_info=True, dtype="float32", **where
                )
            tokenizer = hub.AutoTokenizer.from_pretrained(str(path.parent), **where)
        except (*_RAISED, refused) as error:
            raise LilliputError(f"{path.name!r} cannot be read: {_why(error)}") from error
        check_complete(info, path.name)
        module = _plain(module, config)
        _check_size(module, read, path.name)
        quantized = sorted((kind for kind in kinds if kind not in _REAL), key=lambda kind: -kinds[kind])
        weights = ", ".join(f"{kinds[kind]} of {kind}" for kind in sorted(kinds, key=lambda kind: -kinds[kind]))
        guesses = ()
        if quantized:
            said = (
                f"the weights of {path.name} are quantized already ({weights}) and were dequantized to float32: the "
                "baseline is not the model as trained, and rounding to the same grid again loses nothing"
            )
            guesses = (said,)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        provenance = Provenance(request.source, "", sha256, self.NAME, f"{weights}, as float32", guesses)
        return language_model(module, tokenizer, provenance)


def _why(error: Exception) -> str:
    """What transformers raised, as one who gave it a file understands it."""
    if isinstance(error, KeyError):
        return f"it does not say {error}"
    if isinstance(error, ArithmeticError):
        return f"one of its settings is a number that no model has ({error})"
    if "ignore_mismatched_sizes" in str(error):
        return "its weights have other shapes than transformers makes of its settings; give its Hugging Face folder"
    return " ".join(str(error).split())[:240]


def _plain(read: Any, config: Any) -> Any:
    """The dequantized module as one that was never quantized, with that configuration.

    transformers 5 goes on calling it quantized by GGUF and does not save it.
    """
    config = copy.deepcopy(config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with library("torch", "language").random.fork_rng():  # it draws weights, which are replaced
        module = transformers().AutoModelForCausalLM.from_config(config, dtype="float32")
    module.load_state_dict(read.state_dict())
    return module


def _check_size(module: Any, read: Any, name: str) -> None:
    """Check that the module has all numbers of the file: transformers leaves out tensors that it has no name for.

    Raises:
        LilliputError: it has fewer.
    """
    tensors = {one.name: int(one.n_elements) for one in read.tensors if not one.name.startswith("rope_")}
    if getattr(module.config, "tie_word_embeddings", False):
        tensors.pop("output.weight", None)  # written a second time by some converters
    n = sum(parameter.numel() for parameter in module.parameters())
    if sum(tensors.values()) > n:
        raise LilliputError(
            f"{name!r} holds {sum(tensors.values()):,} numbers, of which transformers reads {n:,}: the model would be "
            "another one; give its Hugging Face folder or hub id"
        )
