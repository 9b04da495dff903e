"""Retentions and verdicts that were computed before: each takes 50 ms, so a large study keeps them in a file."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Float64

from lilliput.statistics import Retention, Verdict, retention, verdict

FORMAT = 1
"""Raised when retention or verdict change their meaning, so that what was kept is computed anew. 1: the first."""

Decision = tuple[Retention | None, Verdict]


@final
class Decisions:
    """What is known, by the digest of the returns themselves: a record that changed is decided anew."""

    def __init__(self, path: Path | None = None) -> None:
        """Those in the file; none without one, or where it is damaged or of another version."""
        self.path = path
        self.known: dict[str, Any] = {}
        self.is_new = False
        if path is not None and path.is_file():
            try:
                data = json.loads(path.read_text())
            except ValueError:
                data = {}
            self.known = data.get("decisions", {}) if data.get("format") == FORMAT else {}

    def decide(
        self,
        candidate: Float64[np.ndarray, " n"],
        baseline: Float64[np.ndarray, " n"],
        random: Float64[np.ndarray, " n"],
        keep: float,
    ) -> Decision:
        """Retention and verdict of these returns."""
        key = hashlib.sha256(np.concatenate([candidate, baseline, random, [keep]]).tobytes()).hexdigest()[:32]
        if (found := self.known.get(key)) is not None:
            kept, decided = found
            return Retention(**kept) if kept else None, Verdict(**decided)
        kept = retention(candidate, baseline, random, rng=np.random.default_rng(0))
        decided = verdict(candidate, baseline, random, keep, rng=np.random.default_rng(0))
        self.known[key] = [asdict(kept) if kept else None, asdict(decided)]
        self.is_new = True
        return kept, decided

    def save(self) -> None:
        """Nothing; what was computed is in the file."""
        if self.path is not None and self.is_new:
            temporary = self.path.with_name(f".{self.path.name}")
            temporary.write_text(json.dumps({"format": FORMAT, "decisions": self.known}))
            temporary.replace(self.path)
            self.is_new = False
