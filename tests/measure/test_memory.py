"""Peak memory. Oracle: a process that holds a known number of bytes, and a policy of known size."""

import numpy as np
import pytest

from lilliput.measure import memory
from lilliput.measure.memory import STATUS
from lilliput.measure.process import run
from lilliput.measurement import Absent, Measurement
from lilliput.policies.artifact import Artifact

pytestmark = pytest.mark.skipif(not STATUS.exists(), reason="peak memory is read on Linux only")

_SCRIPT = """
from pathlib import Path
data = bytearray({n})
data[::4096] = b'x' * len(data[::4096])
del data
(line,) = (line for line in Path('/proc/self/status').read_text().splitlines() if line.startswith('VmHWM'))
print(int(line.split()[1]) * 1024)
"""


def test_the_kernels_peak_counts_what_was_held_and_freed() -> None:
    base, more = (int(run(["-c", _SCRIPT.format(n=n)])) for n in (0, 100_000_000))
    assert abs(more - base - 100_000_000) < 3_000_000


def test_the_parents_memory_is_not_counted() -> None:
    held = np.ones(40_000_000)
    assert int(run(["-c", _SCRIPT.format(n=0)])) < held.nbytes / 4


def test_a_larger_policy_takes_more(small: Artifact, large: Artifact, observations: np.ndarray) -> None:
    peak, identity, bare = memory(large.folder, observations, identity=small.folder, repeats=2)
    assert isinstance(peak, Measurement)
    assert isinstance(identity, Measurement)
    assert isinstance(bare, Measurement)
    assert [m.quantity for m in (peak, identity, bare)] == [
        "peak_memory_bytes",
        "identity_memory_bytes",
        "interpreter_memory_bytes",
    ]
    assert len(peak.values) == 2
    weights = large.manifest.model_bytes
    assert weights > 4_000_000
    assert weights * 0.9 < np.median(peak.values) - np.median(identity.values) < weights * 6
    assert 1_000_000 < np.median(bare.values) < np.median(identity.values)


def test_without_an_identity_artifact_it_is_absent(small: Artifact, observations: np.ndarray) -> None:
    found = memory(small.folder, observations, repeats=1)
    assert found[1] == Absent("identity_memory_bytes", "no identity artifact was given")
