"""Retentions and verdicts, taken together, so that a report of a large study is soon there."""

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import Executor

import numpy as np
from jaxtyping import Float64

from lilliput.statistics import Retention, Verdict, is_above_random, share_kept, verdicts

_TOGETHER = 1_000
"""Decisions taken at once, under random weights drawn once: 10,000 weighted sums of each are held, 80 MB."""

Returns = Float64[np.ndarray, " _"]
Episodes = tuple[Returns, Returns, Returns]
"""What candidate, baseline and random policy returned on the same seeds."""

Decision = tuple[Retention | None, Verdict]


def decide(episodes: Sequence[Episodes], keep: float, second: Executor | None = None) -> list[Decision]:
    """Retention and verdict of each, which do not depend on the others; together they cost a hundredth of one by one.

    What `second` has not begun when this comes to it is done here, so that neither waits for the other.
    """
    by_length: dict[int, list[int]] = defaultdict(list)
    for number, (candidate, _, _) in enumerate(episodes):
        by_length[len(candidate)].append(number)
    chunks = [
        alike[start : start + _TOGETHER] for alike in by_length.values() for start in range(0, len(alike), _TOGETHER)
    ]
    played = [[episodes[number] for number in chunk] for chunk in chunks]
    begun = [second.submit(_together, some, keep) if second else None for some in played]
    decided: dict[int, Decision] = {}
    for chunk, some, there in reversed(list(zip(chunks, played, begun, strict=True))):
        found = _together(some, keep) if there is None or there.cancel() else there.result()
        decided |= zip(chunk, found, strict=True)
    return [decided[number] for number in range(len(episodes))]


def _together(episodes: Sequence[Episodes], keep: float) -> list[Decision]:
    """Of as many episodes each."""
    candidates, baselines, randoms = (np.stack(side) for side in zip(*episodes, strict=True))
    found = verdicts(candidates, baselines, randoms, keep, rng=np.random.default_rng(0))
    above: dict[bytes, bool] = {}
    return [(_retention(*played, above), one) for played, one in zip(episodes, found, strict=True)]


def _retention(candidate: Returns, baseline: Returns, random: Returns, above: dict[bytes, bool]) -> Retention | None:
    """The retention; whether its baseline is `above` random is asked once for all of its candidates."""
    pair = baseline.tobytes() + random.tobytes()
    if pair not in above:
        rng = np.random.default_rng(0)
        above[pair] = is_above_random(baseline, random, confidence=0.95, rng=rng, draws=5_000)
    return share_kept(candidate, baseline, random) if above[pair] else None
