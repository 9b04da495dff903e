"""Lines of progress: the time that is left follows from what was done while it was watched."""

import io
import re
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


def test_the_time_left_is_that_of_what_is_counted_now_and_not_of_what_was_before(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 1_000.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    with progress.shown(quiet=False) as report:
        for _ in range(3):  # three artifacts answer fifty items each, in three seconds an item
            for item in range(1, 51):
                now += 3.0
                report("answering", item, 50)
            now += 500.0  # the next one is made
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3 * 49
    assert said[0] == said[49] == said[98] == "answering: 2 of 50, about 144 s left"
    assert said[48] == "answering: 50 of 50, about 0 s left"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_says_which_of_its_times_is_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.shown(quiet=False) as report:
        report("cells", 2, 4)
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
    assert re.search(r"cells .* 2/4 0:00:0\d so far, about \S+ left", plain)


def test_what_is_guessed_of_one_of_several_sources_says_of_which(capsys: pytest.CaptureFixture[str]) -> None:
    progress.say_guesses(["a", "b"], "ppo.zip")
    progress.say_guesses(["c"])
    assert capsys.readouterr().err.splitlines() == ["guessed: ppo.zip: a", "guessed: ppo.zip: b", "guessed: c"]


def test_a_comparison_says_what_comes_last_and_how_to_leave_it_out(capsys):
    for quiet, first, n_reports in ((False, progress.TIMED_LAST, 3), (False, progress.TIMED_LAST, 0), (True, "x", 1)):
        with progress.shown(quiet=quiet, first=first) as report:
            for done in range(n_reports):
                report("cells", done, 3)
    out, err = capsys.readouterr()
    assert (out, err.count("--no-timings"), len(err.splitlines())) == ("", 1, 1)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_remarks_keep_to_a_terminal_and_are_a_line_each_elsewhere(
    is_terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    monkeypatch.setenv("COLUMNS", "80")
    said = ["not measured: energy_j: /sys/class/powercap/intel-rapl:0/energy_uj: permission denied; run as root, " * 2]
    path = "/" + "/".join(["a_folder_with_a_name"] * 5)
    progress.say_remarks([f"kept in {path}"])
    assert path in capsys.readouterr().out, "to be copied"
    progress.say_remarks([*said, "short"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "short"
    if is_terminal:
        assert 3 <= len(lines) <= 5
        assert max(map(len, lines)) <= 80
        assert " ".join(lines[:-1]).split() == said[0].split()
    else:
        assert lines == [*said, "short"]
