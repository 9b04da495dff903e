"""How likely a language model thinks each token of a text: what perplexity and multiple choice are made of."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Float64, Int64

from lilliput.errors import LilliputError, NotApplicable
from lilliput.models.model import not_finite
from lilliput.models.session import Session

_TOKENS_AT_ONCE = 2048
_NUMBERS_AT_ONCE = 1 << 26
"""Logits of one batch: 256 MB of float32."""

_GLANCE = 16
_ROUNDING = 0.005
"""Of bfloat16, by which experts that get other tokens may differ."""

Progress = Callable[[int, int], None]


def token_log_likelihoods(
    session: Session, tokens: Int64[np.ndarray, "rows tokens"]
) -> Float64[np.ndarray, "rows followers"]:
    """The natural logarithm of the probability of each token but the first, given those before it.

    Raises:
        LilliputError: an answer is not a number.
    """
    logits = session.answer({"input_ids": tokens})["logits"][:, :-1]
    top = logits.max(axis=-1, keepdims=True)
    if not np.isfinite(top).all():
        raise not_finite("logits are")
    total = np.log(np.exp(logits - top).sum(axis=-1, dtype=np.float64))
    picked = np.take_along_axis(logits, tokens[:, 1:, None], axis=-1) - top
    return picked[..., 0].astype(np.float64) - total


def check_causal(session: Session, n_tokens: int) -> None:
    """Check that what the model says of a token reads none behind it, which would give the answer away.

    Raises:
        NotApplicable: it reads them, as BERT does: it fills gaps and tells no text.
    """
    tokens = np.random.default_rng(0).integers(0, n_tokens, (2, _GLANCE))
    tokens[1, : _GLANCE // 2] = tokens[0, : _GLANCE // 2]
    one, other = (session.answer({"input_ids": row[None]})["logits"][0, : _GLANCE // 2] for row in tokens)
    if np.abs(one - other).max() > _ROUNDING * np.abs(one).max():
        raise NotApplicable(
            "the model reads the tokens behind the one that it is asked of, as BERT does; causal language models, "
            "which read those before it, are judged"
        )


def check_reads(session: Session, length: int, asked: str) -> None:
    """Check that a model that does not say how much it reads at once reads that many tokens, by asking it.

    Raises:
        LilliputError: it does not; `asked` says in the message who needs as many.
    """
    try:
        session.answer({"input_ids": np.zeros((1, length), np.int64)})
    except LilliputError as error:
        longest = _longest_read(session, length)
        if longest is None:
            raise
        raise LilliputError(f"{asked}; the model reads at most {longest} at once here") from error


def _longest_read(session: Session, most: int) -> int | None:
    """The most tokens below `most` that it answers; None: it does not answer a single one."""
    reads, fails = 0, most
    while fails - reads > 1:
        middle = (reads + fails) // 2
        try:
            session.answer({"input_ids": np.zeros((1, middle), np.int64)})
        except LilliputError:
            fails = middle
        else:
            reads = middle
    return reads or None


def rows_at_once(length: int, n_tokens: int) -> int:
    """How many texts of that length are asked together."""
    return max(min(_TOKENS_AT_ONCE, _NUMBERS_AT_ONCE // n_tokens) // length, 1)


def sums_behind(
    session: Session,
    texts: Sequence[np.ndarray],
    starts: Sequence[int],
    n_tokens: int,
    progress: Progress | None = None,
) -> Float64[np.ndarray, " texts"]:
    """The log likelihood of the tokens of each text from its start on, given all before them.

    Args:
        session: what answers.
        texts: tokens (int64), of any lengths.
        starts: of each, at least 1.
        n_tokens: the size of the vocabulary.
        progress: called with how many are done and of how many.
    """
    found = np.zeros(len(texts))
    done = 0
    for batch in _batches([len(text) for text in texts], n_tokens):
        longest = max(len(texts[at]) for at in batch)
        # Padding stands behind the text, where no token before it can see it.
        padded = np.zeros((len(batch), longest), np.int64)
        for row, at in enumerate(batch):
            padded[row, : len(texts[at])] = texts[at]
        each = token_log_likelihoods(session, padded)
        for row, at in enumerate(batch):
            found[at] = each[row, starts[at] - 1 : len(texts[at]) - 1].sum()
        done += len(batch)
        if progress is not None:
            progress(done, len(texts))
    return found


def _batches(lengths: Sequence[int], n_tokens: int) -> Iterator[list[int]]:
    """Texts of like lengths together, as many as fit."""
    batch: list[int] = []
    for at in sorted(range(len(lengths)), key=lambda at: -lengths[at]):
        if len(batch) >= rows_at_once(lengths[batch[0]] if batch else 1, n_tokens):
            yield batch
            batch = []
        batch.append(at)
    if batch:
        yield batch
