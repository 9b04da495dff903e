"""Lilliput's own file."""

from lilliput.policies.file import from_bytes
from lilliput.policies.load.source import Source
from lilliput.policies.policy import Policy


def read_lilliput(source: Source) -> Policy:
    """The policy in a .lilliput file, its provenance as it was written.

    Raises:
        LilliputError: damaged or newer than this program.
    """
    return from_bytes(source.data, source.name)
