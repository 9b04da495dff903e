"""The wings there are."""

from lilliput.errors import LilliputError
from lilliput.study.models import MODELS
from lilliput.study.policies import POLICIES
from lilliput.study.wing import Wing

WINGS: dict[str, Wing] = {wing.NAME: wing for wing in (POLICIES, MODELS)}
"""By name, as records and study files spell it."""


def wing_of(name: str) -> Wing:
    """The wing of that name.

    Raises:
        LilliputError: there is none.
    """
    if name not in WINGS:
        raise LilliputError(f"there is no wing {name!r}; known: {', '.join(WINGS)}")
    return WINGS[name]
