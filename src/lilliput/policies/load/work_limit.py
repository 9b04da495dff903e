"""How much a file may ask for: one of a few bytes may name more numbers than a machine has."""

from dataclasses import dataclass
from typing import final

from lilliput.errors import LilliputError


@final
@dataclass(eq=False)
class Work:
    """How many numbers may still be computed with."""

    left: int = 1 << 28

    def spend(self, numbers: int) -> None:
        """Take them off.

        Raises:
            LilliputError: there are not as many left.
        """
        self.left -= numbers
        if self.left < 0:
            raise LilliputError("it computes with more numbers than any policy has")
