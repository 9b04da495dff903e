"""Lilliput's own file."""

from lilliput.policies import policy
from lilliput.policies.policy import Policy


def read_lilliput(data: bytes, name: str) -> Policy:
    """The policy in the bytes of a .lilliput file, its provenance as it was written.

    Raises:
        LilliputError: damaged or newer than this program.
    """
    return policy.from_bytes(data, name)
