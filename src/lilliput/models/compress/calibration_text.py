"""Calibration text: windows of tokens from a text file, from the whole vocabulary at random, or from the model itself.

A draw is numbered; draws of one source share no window.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Int64

from lilliput.errors import LilliputError
from lilliput.models.compress.context import Context
from lilliput.models.location import locate
from lilliput.models.model import Model, longest_window, module_of, tokenizer_of
from lilliput.models.text import MADE, RANDOM, SELF, Tokenizer, windows_of

MAX_SAMPLES = 1 << 16
MAX_TOKENS = 1 << 17

_WRITTEN_AT_ONCE = 64


def check_text(source: str) -> None:
    """Check that there is such a source of text, which is not read.

    Raises:
        LilliputError: there is none.
    """
    if source not in MADE and not locate(source).is_file():
        raise LilliputError(f"{source!r} is a folder; calibration text is one file")


def calibration_windows(
    model: Model, context: Context, source: str, samples: int, tokens: int
) -> Int64[np.ndarray, "samples tokens"]:
    """The windows of the context's draw; each begins with the token that begins a text, where the tokenizer has one.

    Raises:
        LilliputError: the source does not exist or is too small, or the model does not read text or such long windows.
    """
    tokenizer = tokenizer_of(model, f"source={source!r}")
    longest = longest_window(model)
    if longest is not None and tokens > longest:
        raise LilliputError(f"tokens is {tokens}; the model reads at most {longest} at once")
    if source == RANDOM:
        return _random(tokenizer, context, samples, tokens)
    if source == SELF:
        return _written(context.teacher.digest, _Teacher(context), samples, tokens)
    every = windows_of(tokenizer, source, "calibration", tokens, bos=tokenizer.bos is not None)
    first = context.draw * samples
    if first + samples > len(every):
        raise LilliputError(
            f"source {source!r} has {len(every)} windows of {tokens} tokens besides what is held out, enough for "
            f"{len(every) // samples} draws of {samples} samples that share none; draw {context.draw + 1} was asked "
            "for: lower samples or tokens, or give more text"
        )
    order = context.rng(f"windows of {source}", every_draw=True).permutation(len(every))
    return every[order[first : first + samples]]


def _random(tokenizer: Tokenizer, context: Context, samples: int, tokens: int) -> Int64[np.ndarray, "samples tokens"]:
    words = np.setdiff1d(np.arange(tokenizer.n_tokens), tokenizer.special)
    found = context.rng("random vocabulary").choice(words, (samples, tokens)).astype(np.int64)
    if tokenizer.bos is not None:
        found[:, 0] = tokenizer.bos
    return found


class _Teacher:
    """What writes; two are the same where the model, the seed and the draw are, so that a draw is written once."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.key = (context.seed, context.draw)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Teacher) and self.key == other.key


@lru_cache(maxsize=16)
def _written(digest: str, teacher: _Teacher, samples: int, tokens: int) -> Int64[np.ndarray, "samples tokens"]:
    """Samples that the teacher writes, token by token."""
    import torch

    del digest
    context = teacher.context
    model = context.teacher
    tokenizer = tokenizer_of(model, 'source="self"')
    if tokenizer.bos is None:
        raise LilliputError('source="self": the tokenizer has no token that begins a text, so nothing to begin with')
    module = module_of(model, 'source="self"')
    rng = context.rng("self-generated text")
    found = np.empty((samples, tokens), np.int64)
    for start in range(0, samples, _WRITTEN_AT_ONCE):
        n = min(_WRITTEN_AT_ONCE, samples - start)
        begin = torch.full((n, 1), tokenizer.bos, device=next(module.parameters()).device)
        with torch.inference_mode(), torch.random.fork_rng():
            torch.manual_seed(int(rng.integers(1 << 62)))
            written = module.generate(  # type: ignore[operator]
                begin,
                attention_mask=torch.ones_like(begin),
                max_length=tokens,
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                eos_token_id=None,
                pad_token_id=tokenizer.bos,
            )
        found[start : start + n] = written.cpu().numpy()
        context.done("writing calibration text", start + n, samples)
    found.flags.writeable = False
    return found
