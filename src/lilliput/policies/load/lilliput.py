"""Lilliput's own file."""

from lilliput.policies.file import from_bytes
from lilliput.policies.learner import Checkpoint
from lilliput.policies.load.source import Source


def read_lilliput(source: Source) -> Checkpoint:
    """The policy in a .lilliput file and its learner, the provenance as it was written.

    Raises:
        LilliputError: damaged or newer than this program.
    """
    return from_bytes(source.data, source.name)
