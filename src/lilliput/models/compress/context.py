"""Everything that a step of this wing may use besides the model itself."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np

from lilliput.models.model import Model


@final
@dataclass(frozen=True, eq=False)
class Context:
    """What a step may use; nothing is read before a step asks for it.

    Attributes:
        teacher: the model as loaded: what trained steps imitate and what writes self-generated text.
        seed: of everything random in a recipe.
        draw: which of a source's disjoint draws calibrates (a study's compression seed).
        progress: called with what is being done, how much is done and of how much.
        say: called with a sentence that the user should read.
    """

    teacher: Model
    seed: int = 0
    draw: int = 0
    progress: Callable[[str, int, int], None] | None = None
    say: Callable[[str], None] | None = None

    def rng(self, purpose: str, *, every_draw: bool = False) -> np.random.Generator:
        """A random generator for that purpose and draw, the same each time; or the same for every draw."""
        digest = hashlib.sha256(purpose.encode()).digest()
        entropy = [self.seed, 0 if every_draw else self.draw + 1, int.from_bytes(digest[:8], "little")]
        return np.random.default_rng(np.random.SeedSequence(entropy))

    def tell(self, sentence: str) -> None:
        """Pass on what the user should read."""
        if self.say is not None:
            self.say(sentence)

    def done(self, what: str, n: int, of: int) -> None:
        """Pass on how far a step is."""
        if self.progress is not None:
            self.progress(what, n, of)
