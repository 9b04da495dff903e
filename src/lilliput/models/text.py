"""Text as tokens: the tokenizer of a language model, and windows of tokens cut out of a text."""

import hashlib
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Int64

from lilliput.errors import LilliputError


@final
@dataclass(frozen=True, eq=False)
class Tokenizer:
    """Text to tokens and back; `library`: transformers' own PreTrainedTokenizerFast, which exports write."""

    library: Any

    @property
    def bos(self) -> int | None:
        """The token that begins a text, where there is one."""
        return self.library.bos_token_id

    @property
    def n_tokens(self) -> int:
        """How many tokens there are."""
        return len(self.library)

    @property
    def digest(self) -> str:
        """sha256 of what it does."""
        text = self.library.backend_tokenizer.to_str()
        return hashlib.sha256(f"{text}{self.library.special_tokens_map}".encode()).hexdigest()

    def encode(self, text: str) -> Int64[np.ndarray, " tokens"]:
        """The tokens of a text, without a beginning or an end that the text has not."""
        # The backend, because the library warns of every text longer than the model's context.
        return np.array(self.library.backend_tokenizer.encode(text, add_special_tokens=False).ids, np.int64)

    def decode(self, tokens: Int64[np.ndarray, " tokens"]) -> str:
        """The text of the tokens."""
        return self.library.backend_tokenizer.decode(tokens.tolist(), skip_special_tokens=True)


def windows(tokens: Int64[np.ndarray, " tokens"], length: int, bos: int | None) -> Int64[np.ndarray, "windows length"]:
    """Every whole window of that many tokens, one behind the other; with `bos`, each begins with it.

    >>> windows(np.arange(7), 3, None).tolist()
    [[0, 1, 2], [3, 4, 5]]
    >>> windows(np.arange(7), 3, 99).tolist()
    [[99, 0, 1], [99, 2, 3], [99, 4, 5]]

    Raises:
        LilliputError: the length is not one that a window can have.
    """
    inside = length if bos is None else length - 1
    if inside < 1:
        raise LilliputError(f"a window of {length} tokens; it must have at least two")
    n = len(tokens) // inside
    cut = tokens[: n * inside].reshape(n, inside)
    return cut if bos is None else np.concatenate([np.full((n, 1), bos, np.int64), cut], axis=1)
