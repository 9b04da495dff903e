"""Each thing that can be added is added here from outside, one row each, and found at work in a study and its report.

Nothing of the package is touched but the table that the row goes into.
"""

import dataclasses
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from click.testing import CliRunner
from tests.studied import records, studied

from lilliput.cli import cli
from lilliput.measure import target as targets
from lilliput.measure.meter import Measured, Meter, Room
from lilliput.measure.table import METERS
from lilliput.measurement import QUANTITIES, Measurement, Quantity
from lilliput.policies import file as policy_file
from lilliput.policies import layers, reference, spaces
from lilliput.policies.artifact import Artifact, read_artifact
from lilliput.policies.compress import STEPS, Context, Step
from lilliput.policies.export.exporter import Exporter
from lilliput.policies.export.table import FORMATS
from lilliput.policies.load import table as load_table
from lilliput.policies.policy import Policy, Provenance
from lilliput.record import Cell, Record
from lilliput.study import executors, local
from lilliput.study.executor import Executor
from lilliput.study.table import WINGS
from lilliput.study.training import TrainingCell
from lilliput.study.wing import Progress

SILENT: Progress = lambda *_: None  # noqa: E731


@pytest.fixture
def balancer(tmp_path: Path) -> Policy:
    """A policy that balances CartPole, as a file in the folder."""
    gain = np.array([[0.1, 0.5, 1.0, 0.7]], np.float32)
    space = spaces.Box((4,), np.array(-np.inf), np.array(np.inf))
    stack = (
        layers.Dense(np.concatenate([gain, -gain]), np.zeros(2, np.float32)),
        layers.Relu(),
        layers.Dense(np.array([[-1, 1], [1, -1]], np.float32), None),
        layers.ArgmaxAction((2,)),
    )
    policy = Policy(space, spaces.Discrete(2), stack, Provenance(source="balancer", environment="CartPole-v1"))
    policy_file.write(policy, tmp_path / "balancer.lilliput")
    return policy


def compared(folder: Path, *lines: str) -> str:
    """What `compare` prints for the balancer."""
    command = [
        "compare", str(folder / "balancer.lilliput"), "--episodes", "2", "--no-timings", "--format", "onnx",
        "--workers", "1", "-o", str(folder / "compared"), *lines,
    ]  # fmt: skip
    done = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@dataclass(frozen=True)
class Files(Meter):
    NAME: ClassVar[str] = "files"
    QUANTITIES: ClassVar[tuple[str, ...]] = ("n_files",)

    def measure(self, room: Room) -> Sequence[Measured]:
        counts = [len(list(bench.folder.iterdir())) for bench in room.benches]
        return [(Measurement("n_files", (float(n),), "counted: in the folder"),) for n in counts]


def test_a_quantity_is_measured_tabled_and_drawn(
    balancer: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("plotly")
    row = Quantity("n_files", "1", "lower", False, 1, "files of an artifact", column="files in it")
    monkeypatch.setitem(QUANTITIES, "n_files", row)
    monkeypatch.setitem(METERS, "files", Files())
    quantities = 'quantities = ["episode_return", "model_bytes", "n_files"]'
    written = studied(tmp_path, 'formats = ["onnx"]', quantities)
    header, *lines = written["csv"].splitlines()
    at = header.split(",").index("n_files")
    assert {line.split(",")[at] for line in lines if "(baseline" not in line} >= {"3.0"}
    assert '"files in it"' in written["html"]
    assert '"n_files":"3"' in written["html"]
    monkeypatch.setattr(type(WINGS["policies"]), "QUANTITIES", ("episode_return", "model_bytes", "n_files"))
    printed = compared(tmp_path, "-r", "half()")
    assert "files in it" in printed


class Played:
    """Runs an artifact that is the policy's own file, by its meaning."""

    def __init__(self, artifact: Artifact) -> None:
        self.artifact, self.policy = artifact, policy_file.read(artifact.folder / "whole.lilliput")

    def __call__(self, observation: Any) -> Any:
        return self.batch(np.asarray(observation)[None])[0]

    def batch(self, observations: Any) -> np.ndarray:
        return reference.act(self.policy, observations)

    def begin(self, seed: int = 0) -> "Played":
        return self


@dataclass(frozen=True)
class Whole(Exporter):
    """The policy's own file."""

    NAME: ClassVar[str] = "whole"
    RUNTIME: ClassVar[str] = "its meaning"

    def write(self, policy: Policy, folder: Path, golden: Any, name: str) -> dict[str, str]:
        policy_file.write(policy, folder / "whole.lilliput")
        return {}

    def open(self, artifact: Artifact) -> Played:
        return Played(artifact)


def test_a_format_is_exported_run_and_reported(
    balancer: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMATS, "whole", Whole())
    written = studied(tmp_path, 'formats = ["whole"]')
    made = [r for r in records(tmp_path) if r["artifact"]]
    assert {read_artifact(tmp_path / "out" / r["artifact"]).manifest.format for r in made} == {"whole"}
    assert ",whole," in written["csv"]
    returns = [m for r in records(tmp_path) for m in r["measurements"] if m["quantity"] == "episode_return"]
    assert any(", played by its meaning at batch 1" in m["method"] for m in returns)
    assert not any("compiled C" in m["method"] for m in returns)
    command = ["export", str(tmp_path / "balancer.lilliput"), "--format", "whole", "-o", str(tmp_path / "exported")]
    done = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert read_artifact(tmp_path / "exported").manifest.format == "whole"
    assert "[onnx|c|whole|transformers]" in CliRunner().invoke(cli, ["compare", "--help"]).stdout


@dataclass(frozen=True)
class Negate(Step):
    """Turns the first layer round twice: nothing changes but the name."""

    NAME: ClassVar[str] = "negate"
    VERSION: ClassVar[int] = 7
    SHOWN: ClassVar[tuple[str, ...]] = ("how",)

    how: str = "twice"

    def apply(self, policy: Policy, context: Context) -> Policy:
        return policy


def test_a_step_is_applied_keyed_and_named(balancer: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STEPS, "negate", Negate)
    written = studied(tmp_path, 'recipes = ["negate() | half()"]', 'formats = ["onnx"]')
    (record,) = [r for r in records(tmp_path) if r["recipe"] == "negate() | half()"]
    assert ["step.negate", "7"] in record["cell"]["versions"]
    assert "negate twice | half" in written["csv"]


def test_a_loader_is_tried(balancer: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = load_table.CheckpointFormat("policies that shout", lambda data: data.startswith(b"SHOUT"), lambda _: balancer)
    monkeypatch.setattr(load_table, "FORMATS", (row, *load_table.FORMATS))
    (tmp_path / "loud.shout").write_bytes(b"SHOUT")
    lines = ('formats = ["onnx"]', 'environments = "CartPole-v1"')
    written = studied(tmp_path, *lines, subjects='policies = ["*.shout"]')
    assert "half()" in written["csv"]


class Hold(gymnasium.Env[np.ndarray, Any]):
    """Pays 1 a step for action 1, for ten steps."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (4,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.left = 10
        return np.ones(4, np.float32), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.left -= 1
        return np.ones(4, np.float32), float(action == 1), self.left == 0, False, {}


def test_a_task_is_played(balancer: Policy, tmp_path: Path) -> None:
    gymnasium.register("Hold-v0", entry_point=f"{__name__}:Hold")
    try:
        written = studied(tmp_path, 'formats = ["onnx"]', 'environments = "Hold-v0"')
    finally:
        del gymnasium.registry["Hold-v0"]
    assert "Hold-v0" in written["csv"]
    (versions,) = {json.dumps(r["cell"]["versions"]) for r in records(tmp_path) if r["cell"]["format"] == "none"}
    assert '"module.tests.test_extensions"' in versions or '"module.' in versions


@dataclass(frozen=True)
class Backwards(Executor):
    """Runs the last cell first, here."""

    @classmethod
    def of(cls, workers: int | None, timeout: float | None, address: str | None) -> "Backwards":
        return cls()

    def train_all(self, cells: Sequence[TrainingCell]) -> Iterator[tuple[TrainingCell, str]]:
        yield from local.Local(1).train_all(cells[::-1])

    def run_all(self, cells: Sequence[Cell], folder: Path, progress: Progress) -> Iterator[Record]:
        yield from local.Local(1).run_all(cells[::-1], folder, progress)


def test_an_executor_runs_a_study(balancer: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(executors.EXECUTORS, "backwards", Backwards)
    text = 'policies = ["*.lilliput"]\nrecipes = ["half()"]\nformats = ["onnx"]\nepisodes = 2\n'
    (tmp_path / "study.toml").write_text(text)
    command = ["study", "run", str(tmp_path / "study.toml"), "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(cli, [*command, "--executor", "backwards", "--json"], catch_exceptions=False)
    assert json.loads(done.stdout)["done"] == 4
    first = json.loads(done.stderr.splitlines()[-4])
    assert first["recipe"] == "half()"
    other = CliRunner().invoke(cli, [*command, "--executor", "backward"])
    assert "did you mean backwards? known: local, ray, backwards" in str(other.exception)


@pytest.mark.embedded
def test_a_target_is_counted_on(balancer: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("arm-none-eabi-gcc") is None or shutil.which("qemu-system-arm") is None:
        pytest.skip("needs gcc-arm-none-eabi and qemu-system-arm")
    row = dataclasses.replace(targets.TARGETS["cortex-m3"], name="made-up-m3", note="made up")
    monkeypatch.setitem(targets.TARGETS, row.name, row)
    written = studied(tmp_path, 'formats = ["c"]', 'targets = ["made-up-m3"]')
    assert "made-up-m3_flash_bytes" in written["csv"]
