"""Energy. No counter is to be had on most machines: a thread plays a recorded one, at a known power, into a folder."""

import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lilliput.errors import MissingDependency
from lilliput.measure import energy, episode_energy
from lilliput.measure.energy_process import measure
from lilliput.measure.rapl import Counter, Domain, open_counter, update_interval_s, watch
from lilliput.measurement import Absent, Measurement
from lilliput.models.export import export
from lilliput.models.load import load_model
from lilliput.policies.artifact import Artifact

EXAMPLE = Path(__file__).parents[2] / "examples" / "models" / "classifier.onnx"

RANGE_UJ = 65_532_610_987
"""Of a processor with this counter; the tests start just before it wraps."""


def write_domain(root: Path, name: str, label: str, microjoules: int, range_uj: int = RANGE_UJ) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{label}\n")
    (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    return folder / "energy_uj"


class Machine(threading.Thread):
    """Counts microjoules at a constant power, every millisecond, and wraps."""

    def __init__(self, path: Path, watts: float, start_uj: int) -> None:
        super().__init__(daemon=True)
        self.path, self.watts, self.start_uj, self.stopped = path, watts, start_uj, threading.Event()

    def run(self) -> None:
        start = time.perf_counter()
        fresh = self.path.with_suffix(".new")
        while not self.stopped.wait(1e-3):
            microjoules = self.start_uj + int((time.perf_counter() - start) * self.watts * 1e6)
            fresh.write_text(f"{microjoules % RANGE_UJ}\n")
            fresh.replace(self.path)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Path]:
    """The root of a machine that takes 20 W, busy or idle, and whose counter wraps after half a second."""
    start = RANGE_UJ - 10_000_000
    path = write_domain(tmp_path, "intel-rapl:0", "package-0", start)
    write_domain(tmp_path, "intel-rapl:0:0", "core", 123)
    write_domain(tmp_path, "intel-rapl:1", "psys", 456)
    thread = Machine(path, 20.0, start)
    thread.start()
    yield tmp_path
    thread.stopped.set()
    thread.join()


def test_decisions_take_no_more_than_the_machine_did(machine: Path, large: Artifact, observations: np.ndarray) -> None:
    start = time.perf_counter()
    net, gross = energy(large.folder, observations, windows=2, window_s=0.1, root=machine)
    assert isinstance(net, Measurement), net
    assert isinstance(gross, Measurement)
    assert (net.quantity, gross.quantity) == ("energy_j", "gross_energy_j")
    assert len(net.values) == len(gross.values) == 2
    assert gross.method.startswith(f"measured: RAPL package-0 of {machine}, 2 windows of at least ")
    assert 0 < sum(gross.values) < 20.0 * (time.perf_counter() - start)


def test_answers_of_a_model_take_no_more_than_the_machine_did(machine: Path, tmp_path: Path) -> None:
    start = time.perf_counter()
    model = load_model(str(EXAMPLE), family="classification")
    folder = export(model, "onnx", tmp_path / "artifact").folder
    net, gross = energy(folder, np.zeros((1, 1), np.float32), windows=1, window_s=0.1, root=machine, models=True)
    assert isinstance(net, Measurement), net
    assert isinstance(gross, Measurement)
    assert "answers each" in gross.method
    assert 0 < sum(gross.values) < 20.0 * (time.perf_counter() - start)


def test_episodes_take_no_more_than_the_machine_did(machine: Path, small: Artifact) -> None:
    start = time.perf_counter()
    found = episode_energy(small.folder, "Pendulum-v1", range(20), root=machine, window_s=0.1)
    assert isinstance(found, Measurement), found
    assert 0 < sum(found.values) < 20.0 * (time.perf_counter() - start)
    none = episode_energy(small.folder, "Pendulum-v1", [0], root=machine / "none")
    assert isinstance(none, Absent)


class Simulated:
    """A counter and a clock in step: 5 W idle, and so much more a decision; an update every millisecond."""

    def __init__(self, joules_a_decision: float, start_uj: int = 0, range_uj: int = RANGE_UJ) -> None:
        self.now, self.joules, self.a_decision = 0.0, 0.0, joules_a_decision
        self.start_uj, self.range_uj = start_uj, range_uj

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.joules += 5.0 * seconds

    def clock(self) -> float:
        return self.now

    def read(self) -> tuple[int, ...]:
        self.pass_time(1e-5)
        # What was used up to the last full millisecond.
        return ((self.start_uj + int(int(self.joules / 5e-3) * 5000)) % self.range_uj,)

    def act(self, _: Any) -> None:
        self.pass_time(1e-5)
        self.joules += self.a_decision


@pytest.mark.parametrize("start_uj", [0, RANGE_UJ - 200_000])
def test_gross_and_net_of_a_simulated_machine(start_uj: int, monkeypatch: pytest.MonkeyPatch) -> None:
    simulated = Simulated(2e-4, start_uj)
    counter = Counter((Domain("package-0", Path(), RANGE_UJ),))
    monkeypatch.setattr(Counter, "read", lambda _: simulated.read())
    monkeypatch.setattr("time.perf_counter", simulated.clock)
    monkeypatch.setattr("time.sleep", simulated.pass_time)
    monkeypatch.setattr(
        "lilliput.measure.energy_process.watch", lambda c, work, seconds: watch(c, work, seconds, simulated.clock)
    )
    found = measure(simulated.act, [np.zeros(1)], counter, 0.2, 4)
    # 1e-5 s of 5 W and 2e-4 J a decision, and the looks at the counter in between.
    np.testing.assert_allclose(found["gross"], 2.5e-4 + 5e-5 / 20, rtol=0.03)
    np.testing.assert_allclose(found["net"], 2e-4, rtol=0.03)


def test_a_window_has_whole_updates_at_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([(5,), (5,), (9,), (9,), (12,), (12,), (20,), (20,)])
    monkeypatch.setattr(Counter, "read", lambda _: next(readings))
    ticks = itertools.count()
    counter = Counter((Domain("package-0", Path(), 1000),))
    window = watch(counter, lambda: 2, 2.5, lambda: float(next(ticks)))
    # From the update to 9, at tick 0, to the first one past 2.5 ticks: that to 20.
    assert (window.joules, window.seconds, window.count) == (pytest.approx(11e-6), 4.0, 8)


def test_updates_are_timed_and_a_counter_that_stands_still_is_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulated = Simulated(0.0)
    with monkeypatch.context() as patched:
        patched.setattr(Counter, "read", lambda _: simulated.read())
        found = update_interval_s(Counter((Domain("package-0", Path(), RANGE_UJ),)), simulated.clock)
    assert found == pytest.approx(1e-3, rel=0.02)
    write_domain(tmp_path / "still", "intel-rapl:0", "package-0", 7)
    with pytest.raises(MissingDependency, match="does not change"):
        update_interval_s(open_counter(tmp_path / "still"), timeout_s=0.05)


def test_a_counter_that_stands_still_gives_no_energy(tmp_path: Path, small: Artifact, observations: np.ndarray) -> None:
    write_domain(tmp_path, "intel-rapl:0", "package-0", 7)
    found = energy(small.folder, observations, windows=1, root=tmp_path)
    assert all(isinstance(m, Absent) and "does not change" in m.reason for m in found)


def test_several_packages_add_up_and_wrap_each_for_itself(tmp_path: Path) -> None:
    write_domain(tmp_path, "intel-rapl:0", "package-0", 990, 1000)
    write_domain(tmp_path, "intel-rapl:1", "package-1", 5, 500)
    counter = open_counter(tmp_path)
    assert counter.read() == (990, 5)
    assert counter.joules((990, 5), (10, 105)) == pytest.approx((20 + 100) * 1e-6)


def test_without_a_counter_it_is_absent_with_the_reason(
    tmp_path: Path, small: Artifact, observations: np.ndarray
) -> None:
    reason = f"energy: {tmp_path} has no package counter (RAPL); measure elsewhere or leave energy out"
    expected = (Absent("energy_j", reason), Absent("gross_energy_j", reason))
    assert energy(small.folder, observations, root=tmp_path) == expected


def test_a_counter_that_may_not_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_domain(tmp_path, "intel-rapl:0", "package-0", 1)
    real = Path.read_text

    def denied(self: Path, *arguments: Any, **named: Any) -> str:
        # Root may read anything, so the kernel's answer to others is played.
        if self == path:
            raise PermissionError(13, "Permission denied")
        return real(self, *arguments, **named)

    monkeypatch.setattr(Path, "read_text", denied)
    with pytest.raises(MissingDependency, match="energy_uj: permission denied; run as root or leave energy out"):
        open_counter(tmp_path)


def test_a_damaged_counter_says_so(tmp_path: Path) -> None:
    write_domain(tmp_path, "intel-rapl:0", "package-0", 1).write_text("many\n")
    with pytest.raises(MissingDependency, match="cannot be read"):
        open_counter(tmp_path)
