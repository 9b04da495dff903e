"""Lilliput's own file."""

from lilliput.policies import policy
from lilliput.policies.load.source import Source
from lilliput.policies.policy import Policy


def read_lilliput(source: Source) -> Policy:
    """The policy in a .lilliput file, its provenance as it was written.

    Raises:
        LilliputError: damaged or newer than this program.
    """
    return policy.from_bytes(source.data, source.name)
