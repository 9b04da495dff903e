"""What is asked of shrink, and the folder that is held for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final, get_args

from lilliput.errors import LilliputError
from lilliput.files import Format
from lilliput.measure.target import target_named
from lilliput.policies.learner import Checkpoint
from lilliput.policies.policy import Policy
from lilliput.study.policies import episode_settings
from lilliput.study.workspace import Workspace
from lilliput.task import Task

Objective = Literal["model_bytes", "flash_bytes", "ram_bytes", "n_macs", "latency_s", "instructions"]
OBJECTIVES: dict[str, Objective] = {name: name for name in get_args(Objective)}

SMALLEST_TARGET = "cortex-m0plus"
"""Whose flash or RAM is made small where no processor is named."""

ALPHA = 0.05
"""False acceptance of the whole command, over all the candidates that it confirms."""

REQUEST = Format("request", 1, {0: dict})
"""Of the file that says what was asked. 1: policy, environment and what must not change; 0: without a version."""


@final
@dataclass(frozen=True)
class Request:
    """What is asked.

    Attributes:
        task: where the policy plays, behind its own wrappers.
        keep: the share of the return above random that the result has to keep.
        within_s: seconds for everything.
        objective: what is made small.
        format: of the artifact, c or onnx.
        seed: everything random follows from it.
        workers: processes.
        target: what it is to run on: host, or a processor that is emulated; host becomes the smallest of them where
            flash or RAM is made small.
        max_flash, max_ram: bytes that it may take on that processor.
        deadline_s: seconds that a decision may take on the host.
        max_steps: after which an episode is cut; None: the usual.
        observations: the digest of those that calibrate instead of episodes; empty: none were given.
        train: whether students are trained; without it only the steps that need no training are tried.
    """

    task: Task
    keep: float = 0.95
    within_s: float = 600.0
    objective: Objective = "model_bytes"
    format: str = "c"
    seed: int = 0
    workers: int = 2
    train: bool = True
    target: str = "host"
    max_flash: int | None = None
    max_ram: int | None = None
    deadline_s: float | None = None
    max_steps: int | None = None
    observations: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1:
            raise LilliputError(f"keep is {self.keep:g}; it must be above 0, at most 1")
        if self.objective not in OBJECTIVES:
            raise LilliputError(f"objective {self.objective!r} is not known; allowed: {', '.join(OBJECTIVES)}")
        if self.target == "host" and self.objective in ("flash_bytes", "ram_bytes"):
            object.__setattr__(self, "target", SMALLEST_TARGET)
        on_host = self.target == "host"
        if on_host and (self.objective == "instructions" or self.max_flash is not None or self.max_ram is not None):
            raise LilliputError(
                "instructions, flash and RAM are those of a processor; name it, such as --target cortex-m4"
            )
        if not on_host:
            target_named(self.target)
        if not on_host and (self.format != "c" or self.deadline_s is not None or self.objective == "latency_s"):
            raise LilliputError(
                f"target {self.target!r} is emulated: it takes the format c, and has no time; "
                "use --objective instructions, flash_bytes or ram_bytes"
            )
        if self.within_s < 1 or self.workers < 1:
            raise LilliputError(f"within is {self.within_s:g} s and workers is {self.workers}; both must be at least 1")


@final
@dataclass(frozen=True)
class Place:
    """The folder of one shrink, as its worker processes need it: the policy, and the digests of other teachers."""

    folder: Path
    policy_digest: str
    request: Request
    teachers: tuple[str, ...] = ()

    @property
    def here(self) -> Workspace:
        """What stands where in it."""
        return Workspace(self.folder)


def claim(here: Workspace, policy: Policy, others: Sequence[Checkpoint], request: Request) -> None:
    """Hold the folder for this request, which may take another time and other workers.

    Raises:
        LilliputError: it holds the results of another request.
    """
    asked = {
        "policy": policy.digest,
        "teachers": sorted(one.digest for one in others) or None,
        "environment": request.task.id,
        "environment_kwargs": request.task.kwargs,
        "keep": request.keep,
        "objective": request.objective,
        "format": request.format,
        "seed": request.seed,
        "target": request.target,
        "max_steps": dict(episode_settings(request.max_steps)).get("max_steps"),
        "limits": [request.max_flash, request.max_ram, request.deadline_s],
        "observations": request.observations or None,
    }
    if not here.request.exists():
        REQUEST.write(here.request, asked)
        return
    try:
        held = REQUEST.read(here.request)
    except LilliputError as error:
        raise LilliputError(f"{error}; choose another folder, or give --force to begin anew") from error
    different = [name for name, value in asked.items() if held.get(name) != value]
    if different:
        what = ", ".join(f"{name} {held.get(name)!r}" for name in different)
        raise LilliputError(f"{here.folder} holds a shrink of {what}; choose another folder or give --force")
