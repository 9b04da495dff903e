"""Lines of progress: the time that is left follows from what was done while it was watched."""

import sys

import pytest

from lilliput.cli import progress


@pytest.mark.parametrize("already", [0, 500])
def test_the_estimate_counts_only_what_was_done_since_it_began(
    already: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    with progress.shown(quiet=False) as report:
        for step in range(5):
            now = 10.0 * step
            report("training", already + 10 * step, already + 100)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"training: {already + 10 * step} of {already + 100}, about {100 - 10 * step} s left" for step in range(1, 5)
    ]
