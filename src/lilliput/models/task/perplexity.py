"""Perplexity on a text that no calibration has read: how surprised a language model is, window by window."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import numpy as np
from jaxtyping import Float64, Int64

from lilliput.errors import LilliputError
from lilliput.models import location
from lilliput.models.model import Family, Model, longest_window, tokenizer_of
from lilliput.models.session import Session
from lilliput.models.task.likelihood import check_causal, check_reads, rows_at_once, token_log_likelihoods
from lilliput.models.task.task import Answers, Task
from lilliput.models.text import MADE, Tokenizer, check_disjoint, windows_of
from lilliput.parameter import check_fields, check_integer


@final
@dataclass(frozen=True)
class Perplexity(Task):
    """The mean log likelihood of a token in each window (in nats); the score is the perplexity of all.

    Attributes:
        text: a name or a text file.
        windows: how many, evenly spread over the part.
        tokens: the length of each.
        part: `held_out`: the last fifth of the file, which never calibrates; or the `whole` of it.
        bos: whether each window begins with the token that begins a text; None: where the tokenizer has one. Models
            that were trained with it are surprised at everything without it.
    """

    NAME: ClassVar[str] = "perplexity"
    VERSION: ClassVar[int] = 1
    SCORE: ClassVar[str] = "perplexity"
    FAMILY: ClassVar[Family] = "language"

    text: str
    windows: int = 40
    tokens: int = 256
    part: Literal["held_out", "whole"] = "held_out"
    bos: bool | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        check_integer(self, "windows", self.windows, 2, 1 << 20)
        check_integer(self, "tokens", self.tokens, 2, 1 << 17)

    def ask(self, model: Model, session: Session, progress: Callable[[int, int], None] | None = None) -> Answers:
        """The mean log likelihood of a token, of each window."""
        tokenizer, cut = self._cut(model)
        size = rows_at_once(self.tokens, tokenizer.n_tokens)
        values = []
        for start in range(0, len(cut), size):
            values.append(token_log_likelihoods(session, cut[start : start + size]).mean(axis=1))
            if progress is not None:
                progress(min(start + size, len(cut)), len(cut))
        return Answers(np.concatenate(values), self._names())

    def check(self, model: Model, session: Session) -> None:
        """See `Task.check`."""
        tokenizer, _ = self._cut(model)
        if longest_window(model) is None:
            check_reads(session, self.tokens, f"perplexity: tokens is {self.tokens}")
        check_causal(session, tokenizer.n_tokens)

    def floor(self, n_tokens: int = 0) -> Answers:
        """Every token of the vocabulary alike."""
        if n_tokens < 1:
            raise LilliputError("perplexity: chance chooses among the tokens of a vocabulary; say how many there are")
        return Answers(np.full(self.windows, -math.log(n_tokens)), self._names())

    def score(self, values: Float64[np.ndarray, " items"]) -> float:
        """The perplexity."""
        return float(np.exp(-values.mean()))

    def check_source(self, source: str) -> None:
        """Check that the text shares no more than the odd phrase with the calibration source."""
        if source not in MADE:
            check_disjoint(self.text, source, self.part)

    @property
    def data_digest(self) -> str:
        """sha256 of the text file."""
        return location.digest(self.text)

    def _cut(self, model: Model) -> tuple[Tokenizer, Int64[np.ndarray, "windows tokens"]]:
        tokenizer = tokenizer_of(model, self.NAME)
        if self.bos and tokenizer.bos is None:
            raise LilliputError("perplexity: bos is True; the tokenizer has no token that begins a text: drop bos")
        longest = longest_window(model)
        if longest is not None and self.tokens > longest:
            raise LilliputError(f"perplexity: tokens is {self.tokens}; the model reads at most {longest} at once")
        begins = tokenizer.bos is not None if self.bos is None else self.bos
        every = windows_of(tokenizer, self.text, self.part, self.tokens, bos=begins)
        if len(every) < self.windows:
            raise LilliputError(
                f"perplexity: part {self.part} of {self.text!r} has {len(every)} windows of {self.tokens} tokens; "
                f"{self.windows} were asked for"
            )
        return tokenizer, every[np.linspace(0, len(every) - 1, self.windows).astype(np.int64)]

    def _names(self) -> tuple[str, ...]:
        return tuple(f"window {at}" for at in range(self.windows))
