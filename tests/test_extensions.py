"""Each thing that can be added is added here from outside, one row each, and found at work in a study and its report.

Nothing of the package is touched but the table that the row goes into.
"""

import dataclasses
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from click.testing import CliRunner

from lilliput.cli import cli
from lilliput.measure import target as targets
from lilliput.measure.meter import Measured, Meter, Room
from lilliput.measure.table import METERS
from lilliput.measurement import QUANTITIES, Measurement, Quantity
from lilliput.policies import file as policy_file
from lilliput.policies import layers, load, reference, spaces
from lilliput.policies.artifact import Artifact, read_artifact
from lilliput.policies.compress import STEPS, Context, Step
from lilliput.policies.export.exporter import Exporter
from lilliput.policies.export.table import FORMATS
from lilliput.policies.policy import Policy, Provenance
from lilliput.record import Cell, Record
from lilliput.study import executors, local
from lilliput.study.executor import Executor
from lilliput.study.table import WINGS
from lilliput.study.training import TrainingCell
from lilliput.study.wing import Pairs, Progress, Wing
from lilliput.study.workspace import Workspace
from lilliput.task import Task

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


def studied(folder: Path, *lines: str, subjects: str = 'policies = ["*.lilliput"]') -> dict[str, str]:
    """The files of the report of a study in one process, which is where the rows that a test adds are."""
    text = "\n".join([subjects, *lines, "cell_timeout = 0"])
    if "recipes" not in text:
        text = 'recipes = ["half()"]\n' + text
    if "episodes" not in text and subjects.startswith("policies"):
        text = "episodes = 2\n" + text
    (folder / "study.toml").write_text(text)
    command = ["study", "run", str(folder / "study.toml"), "-o", str(folder / "out"), "--workers", "1", "--json"]
    done = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["failed"], found["to_go"]) == (0, 0)
    return {kind: Path(found[kind]).read_text() for kind in ("csv", "html") if kind in found}


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in (folder / "out" / "records").iterdir()]


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
    row = load.Format("policies that shout", lambda data: data.startswith(b"SHOUT"), lambda source: balancer)
    monkeypatch.setattr(load, "FORMATS", (row, *load.FORMATS))
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


@dataclass(frozen=True)
class Text:
    """A text that answers which letter comes next: always the one that it has most of."""

    words: str

    @property
    def digest(self) -> str:
        return "text-" + self.words.encode().hex()[:40]


@dataclass(frozen=True)
class Rightness(Meter):
    NAME: ClassVar[str] = "rightness"
    QUANTITIES: ClassVar[tuple[str, ...]] = ("rightness", "model_bytes")

    def measure(self, room: Room) -> Sequence[Measured]:
        found = []
        for bench in room.benches:
            text = (bench.folder / "text").read_text()
            scores = tuple(_right(text, item) for item in bench.cell.items)
            found.append(
                (
                    Measurement("rightness", scores, "measured: letters"),
                    Measurement("model_bytes", (float(len(text)),), "counted: letters"),
                )
            )
        return found


def _right(text: str, item: int | str) -> float:
    """How well a text answers: a share that depends on the item, the whole of it for a letter that it has."""
    return (0.5 + (int(item) % 7) / 14) * float("a" in text)


@dataclass(frozen=True)
class Texts(Wing):
    """A made-up wing: texts that are made small by taking letters out."""

    NAME: ClassVar[str] = "texts"
    SUBJECT: ClassVar[str] = "text"
    TASK: ClassVar[str] = "question"
    TASKS: ClassVar[str] = "questions"
    FLOOR: ClassVar[str] = "guess"
    ITEMS: ClassVar[str] = "asked"
    QUANTITIES: ClassVar[tuple[str, ...]] = ("rightness", "model_bytes")

    @property
    def formats(self) -> tuple[str, ...]:
        return ("plain",)

    @property
    def meters(self) -> Sequence[Meter]:
        return (Rightness(),)

    def canonical(self, recipe: str) -> str:
        return recipe.strip()

    def step_versions(self, recipe: str) -> Mapping[str, int]:
        return {"shorten": 2} if recipe else {}

    def packages(self, task: Task, format_: str) -> Pairs:
        return ()

    def is_named(self, source: str) -> bool:
        return False

    def load(self, source: str, told: Mapping[str, Any]) -> Text:
        return Text(Path(source).read_text())

    def names(self, subject: Text) -> Pairs:
        return (("source", "a text"), ("algorithm", "prose"))

    def tasks(self, subject: Text, source: str, named: Sequence[Task]) -> tuple[Task, ...]:
        return tuple(Task(task.id, score="rightness") for task in named or (Task("letters"),))

    def caveats(self, subject: Text, task: Task) -> tuple[str, ...]:
        return ()

    def items(self, task: Task, seed: int, n: int) -> tuple[int, ...]:
        return tuple(range(n))

    def settings(self, given: Mapping[str, int]) -> Pairs:
        return ()

    def file(self, here: Workspace, digest: str) -> Path:
        return here.folder / "texts" / digest

    def keep(self, subject: Text, here: Workspace) -> None:
        path = self.file(here, subject.digest)
        path.parent.mkdir(exist_ok=True)
        path.write_text(subject.words)

    def read(self, here: Workspace, digest: str) -> Text:
        return Text(self.file(here, digest).read_text())

    def build(self, subject: Text, cell: Cell, here: Workspace, folder: Path, progress: Progress) -> None:
        folder.mkdir(parents=True)
        (folder / "text").write_text(subject.words[:: 2 if cell.recipe else 1])

    def is_sound(self, folder: Path) -> bool:
        return True

    def floor(self, cell: Cell, progress: Progress) -> tuple[Measurement, ...]:
        return (Measurement("rightness", (0.04,) * len(cell.items), "counted: one of 25"),)

    def can_answer(self, subject: Text) -> bool:
        return True

    def answer(self, subject: Text, cell: Cell, progress: Progress) -> tuple[Measurement, ...]:
        scores = tuple(_right(subject.words, item) for item in cell.items)
        return (Measurement("rightness", scores, "measured: by heart"),)

    def observations(self, subject: Text, cell: Cell) -> np.ndarray:
        return np.zeros(1)

    def identity(self, subject: Text, format_: str, folder: Path) -> Path:
        return folder

    def item_s(self, subject: Text | None, cell: Cell) -> float:
        return 0.0

    def build_s(self, cell: Cell) -> float:
        return 0.1

    def calibration_items(self, recipe: str) -> int:
        return 0

    def artifact_bytes(self, subject: Text) -> int:
        return len(subject.words)


def test_a_wing_is_studied_from_its_file_to_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("plotly")
    row = Quantity("rightness", "1", "higher", False, 3, "whether a letter was right")
    monkeypatch.setitem(QUANTITIES, "rightness", row)
    monkeypatch.setitem(WINGS, "texts", Texts())
    (tmp_path / "one.txt").write_text("a man a plan a canal panama")
    lines = ('questions = ["letters"]', 'recipes = ["shorten()"]', "asked = 200")
    written = studied(tmp_path, *lines, subjects='texts = ["*.txt"]')
    by_role = {(r["cell"]["subject"] == "guess", r["recipe"], r["cell"]["format"]): r for r in records(tmp_path)}
    assert set(by_role) == {
        (True, "", "none"), (False, "", "plain"), (False, "shorten()", "plain"), (False, "", "reference"),
    }  # fmt: skip
    cell = by_role[False, "shorten()", "plain"]["cell"]
    assert (cell["wing"], cell["floor"], cell["task"]["score"]) == ("texts", "guess", "rightness")
    assert cell["versions"] == [["quantity.model_bytes", "1"], ["quantity.rightness", "3"], ["step.shorten", "2"]]
    line = next(line for line in written["csv"].splitlines() if "shorten()" in line)
    assert ",kept," in line
    assert "prose letters" in line
    assert "shorten()" in written["html"]
    dry = CliRunner().invoke(cli, ["study", "run", str(tmp_path / "study.toml"), "--dry-run", "--json"])
    assert json.loads(dry.stdout)["cells"] == 4
