"""Text as tokens: a language model's tokenizer, and windows of tokens cut out of the two parts of a text.

A text is documents divided by `<|endoftext|>`. Its last fifth is held out for judging, the rest calibrates; `overlap`
tells whether what is judged occurs in what calibrates.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
from jaxtyping import Int64, UInt64

from lilliput.errors import LilliputError
from lilliput.models.data_set import DIVIDER
from lilliput.models.location import locate

Part = Literal["calibration", "held_out", "whole"]

RANDOM = "random"
"""A source of calibration tokens: the whole vocabulary alike, special tokens aside."""

SELF = "self"
"""Another: what the uncompressed model writes, from its beginning token on, at temperature 1."""

MADE = (RANDOM, SELF)
"""Sources that are no files."""

MAX_CHARACTERS = 1 << 28

_HELD_OUT = 5
"""One of so many parts, the last, is held out."""

MAX_OVERLAP = 0.01
"""Parts of one collection share up to half a percent: licences, headers, idioms."""

_RUN = 60
"""Characters that two texts share by chance hardly ever."""


@final
@dataclass(frozen=True, eq=False)
class Tokenizer:
    """Text to tokens and back; two are the same where their `digest` is, so that a text is cut once for many models.

    Attributes:
        library: transformers' own PreTrainedTokenizerFast, which exports write.
        most: tokens that the model knows, which may be fewer: added ones that it never reads.
    """

    library: Any
    most: int | None = None

    def __hash__(self) -> int:
        return hash(self.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokenizer) and self.digest == other.digest

    @property
    def bos(self) -> int | None:
        """The token that begins a text, where there is one."""
        return self.library.bos_token_id

    @property
    def special(self) -> tuple[int, ...]:
        """Tokens that are no text."""
        return tuple(sorted(set(self.library.all_special_ids)))

    @property
    def n_tokens(self) -> int:
        """How many tokens there are, of those that the model knows."""
        return len(self.library) if self.most is None else min(len(self.library), self.most)

    @cached_property
    def digest(self) -> str:
        """sha256 of what it does."""
        text = self.library.backend_tokenizer.to_str()
        return hashlib.sha256(f"{text}{self.library.special_tokens_map}".encode()).hexdigest()

    def encode(self, text: str) -> Int64[np.ndarray, " tokens"]:
        """The tokens of a text, without a beginning or an end that the text has not.

        Raises:
            LilliputError: one of them is none that the model knows.
        """
        # The backend, because the library warns of every text longer than the model's context.
        found = np.array(self.library.backend_tokenizer.encode(text, add_special_tokens=False).ids, np.int64)
        if found.max(initial=0) >= self.n_tokens:
            token = self.library.convert_ids_to_tokens(int(found.max()))
            raise LilliputError(f"the text has the token {token!r}, which the tokenizer knows and the model does not")
        return found

    def decode(self, tokens: Int64[np.ndarray, " tokens"]) -> str:
        """The text of the tokens."""
        return self.library.backend_tokenizer.decode(tokens.tolist(), skip_special_tokens=True)


def read_text(name: str, part: Part) -> str:
    """That part of a text file.

    Raises:
        LilliputError: there is no such file, or it is no text.
    """
    path = locate(name)
    if not path.is_file():
        raise LilliputError(f"{name!r} is no text file")
    if path.stat().st_size > MAX_CHARACTERS:
        raise LilliputError(f"{name!r} has {path.stat().st_size:,} bytes; at most {MAX_CHARACTERS:,} are read")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise LilliputError(f"{name!r} is not UTF-8 text (byte {error.start})") from None
    if part == "whole":
        return text
    # At the end of a document, or of a line, so that neither part begins inside one.
    cut = len(text) - len(text) // _HELD_OUT
    for mark in (DIVIDER, "\n"):
        found = text.find(mark, cut)
        if 0 <= found < len(text) - (len(text) - cut) // 2:
            cut = found + len(mark)
            break
    return text[:cut] if part == "calibration" else text[cut:]


def tokens_of(tokenizer: Tokenizer, text: str) -> Int64[np.ndarray, " tokens"]:
    """The tokens of all documents of a text, one behind the other; each begins with the token that begins a text."""
    begin = [] if tokenizer.bos is None else [np.array([tokenizer.bos], np.int64)]
    parts: list[np.ndarray] = []
    for document in text.split(DIVIDER):
        if document.strip():
            parts += [*(begin if parts else []), tokenizer.encode(document.lstrip("\n"))]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


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


def windows_of(
    tokenizer: Tokenizer, name: str, part: Part, length: int, *, bos: bool
) -> Int64[np.ndarray, "windows length"]:
    """Every window of that part of a text file, tokenized once in a process."""
    path = locate(name)
    status = path.stat()
    tokens = _tokens(tokenizer, path, part, status.st_size, status.st_mtime_ns)
    return windows(tokens, length, tokenizer.bos if bos else None)


@lru_cache(maxsize=16)
def _tokens(tokenizer: Tokenizer, path: Path, part: Part, size: int, changed: int) -> np.ndarray:
    del size, changed  # what tells whether the file is still the same
    found = tokens_of(tokenizer, read_text(str(path), part))
    found.flags.writeable = False
    return found


def overlap(judged: str, calibrating: str) -> float:
    """The share of the judged text's runs of 60 characters that occur in the calibrating one, white space aside.

    >>> overlap("The cat sat on the mat, and then it looked at me as if I were to sit. " * 2, "A dog, not a cat. " * 50)
    0.0
    """
    runs, there = np.sort(_runs(judged)[::_RUN]), _runs(calibrating)
    if not len(runs) or not len(there):
        return 0.0
    at = np.minimum(np.searchsorted(runs, there), len(runs) - 1)
    found = np.unique(there[runs[at] == there])
    return float(np.isin(runs, found).mean())


def _runs(text: str) -> UInt64[np.ndarray, " runs"]:
    """A number for each run of characters, wherever it begins; equal for equal runs."""
    letters = np.frombuffer(" ".join(text.split()).encode("utf-32-le"), np.uint32).astype(np.uint64)
    if len(letters) < _RUN:
        return np.zeros(0, np.uint64)
    # The sum of letter * base**place over a run, from sums over all before it, divided by base**begin; modulo 2**64.
    base, inverse = 0x100000001B3, pow(0x100000001B3, -1, 1 << 64)
    powers = np.cumprod(np.full(len(letters), base, np.uint64))
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(letters * powers)])
    back = np.cumprod(np.full(len(letters) - _RUN + 1, inverse, np.uint64))
    return (sums[_RUN:] - sums[:-_RUN]) * back


def check_disjoint(judged: str, calibrating: str, judged_part: Part = "held_out") -> None:
    """Check that a text that judges has not been calibrated on.

    Args:
        judged: the name of the text that judges.
        calibrating: the name of the text whose calibration part calibrates.
        judged_part: which part of the first.

    Raises:
        LilliputError: they share more than the odd phrase.
    """
    share = overlap(read_text(judged, judged_part), read_text(calibrating, "calibration"))
    if share > MAX_OVERLAP:
        raise LilliputError(
            f"{share:.0%} of {judged!r} (part {judged_part}) also stands in the calibration source {calibrating!r}: a "
            "model would be judged on what it was calibrated on; judge on another text, or on part='held_out'"
        )
