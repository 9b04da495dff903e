"""Retentions and verdicts, taken together and kept in a file, so that a report of a large study is soon there."""

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Float64

from lilliput.statistics import Retention, Verdict, is_above_random, share_kept, verdicts

FORMAT = 2
"""Raised when retention or verdict change their meaning, so that what was kept is computed anew. 1: the first. 2: the
bounds of a verdict share their random weights."""

_TOGETHER = 512
"""Decisions taken at once: 10,000 weighted means of two columns each are held, 80 MB."""

Returns = Float64[np.ndarray, " _"]
Episodes = tuple[Returns, Returns, Returns]
"""What candidate, baseline and random policy returned on the same seeds."""

Decision = tuple[Retention | None, Verdict]


@final
class Decisions:
    """What is known, by the digest of the returns themselves: a record that changed is decided anew."""

    def __init__(self, path: Path | None = None) -> None:
        """Those in the file; none without one, or where it is damaged or of another version."""
        self.path = path
        self.known: dict[str, Any] = {}
        self.is_new = False
        self._above: dict[bytes, bool] = {}
        if path is not None and path.is_file():
            try:
                data = json.loads(path.read_text())
            except ValueError:
                data = {}
            self.known = data.get("decisions", {}) if data.get("format") == FORMAT else {}

    def decide(self, episodes: Sequence[Episodes], keep: float) -> list[Decision]:
        """Retention and verdict of each; what is new is decided together, which costs a hundredth of one by one."""
        keys = [_key(rows, keep) for rows in episodes]
        new = {key: rows for key, rows in zip(keys, episodes, strict=True) if key not in self.known}
        by_length: dict[int, list[str]] = defaultdict(list)
        for key, rows in new.items():
            by_length[len(rows[0])].append(key)
        chunks = [
            alike[start : start + _TOGETHER]
            for alike in by_length.values()
            for start in range(0, len(alike), _TOGETHER)
        ]

        def decided_together(chunk: list[str]) -> tuple[Verdict, ...]:
            ours, theirs, random = (np.stack([new[key][side] for key in chunk]) for side in range(3))
            return verdicts(ours, theirs, random, keep, rng=np.random.default_rng(0))

        # Sorting and multiplying leave the interpreter to others; each chunk has random numbers of its own.
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            for chunk, found in zip(chunks, pool.map(decided_together, chunks), strict=True):
                for key, decided in zip(chunk, found, strict=True):
                    kept = self._retention(*new[key])
                    self.known[key] = [vars(kept) if kept else None, vars(decided)]
        self.is_new = self.is_new or bool(new)
        return [_read(self.known[key]) for key in keys]

    def _retention(self, candidate: Returns, baseline: Returns, random: Returns) -> Retention | None:
        """The retention; whether its baseline is above random is asked once for all of its candidates."""
        pair = baseline.tobytes() + random.tobytes()
        if pair not in self._above:
            rng = np.random.default_rng(0)
            self._above[pair] = is_above_random(baseline, random, confidence=0.95, rng=rng, draws=5_000)
        return share_kept(candidate, baseline, random, np.random.default_rng(0)) if self._above[pair] else None

    def save(self) -> None:
        """Nothing; what was computed is in the file."""
        if self.path is not None and self.is_new:
            temporary = self.path.with_name(f".{self.path.name}")
            temporary.write_text(json.dumps({"format": FORMAT, "decisions": self.known}))
            temporary.replace(self.path)
            self.is_new = False


def _key(rows: Episodes, keep: float) -> str:
    return hashlib.sha256(np.concatenate([*rows, [keep]]).tobytes()).hexdigest()[:32]


def _read(known: Sequence[Any]) -> Decision:
    kept, decided = known
    return Retention(**kept) if kept else None, Verdict(**decided)
