"""The smallest policy that provably keeps its return: a budget of time in, an artifact with its evidence out."""

import contextlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilliput.errors import MissingDependency

if TYPE_CHECKING:
    import numpy as np

    from lilliput.policies.learner import Checkpoint
    from lilliput.policies.policy import Policy
    from lilliput.shrink.request import Objective
    from lilliput.shrink.result import Result


def shrink(
    policy: "Policy | Checkpoint",
    folder: str | Path,
    environment: str | None = None,
    *,
    environment_kwargs: Mapping[str, Any] | None = None,
    teachers: "Sequence[Policy | Checkpoint]" = (),
    keep: float = 0.95,
    within_s: float = 600.0,
    objective: "Objective" = "model_bytes",
    format: str = "c",
    target: str = "host",
    max_flash: int | None = None,
    max_ram: int | None = None,
    deadline_s: float | None = None,
    train: bool = True,
    seed: int = 0,
    max_steps: int | None = None,
    observations: "np.ndarray | None" = None,
    workers: int | None = None,
    say: Callable[[str], None] | None = None,
    force: bool = False,
) -> "Result":
    """The smallest policy that was confirmed to keep its return, on episodes that the search never saw.

    The folder gets the artifact, the policy, the records of all that was tried and, with the extra `report`, a page.
    The same call on the same folder goes on where it was interrupted.

    Args:
        policy: as `load_checkpoint` gives it, or `load_policy`; then students learn without the critic and the spread
            of actions that the file may have.
        folder: new, or of the same request.
        environment: a Gymnasium id; None: the one that the policy's source names.
        environment_kwargs: arguments of the environment.
        teachers: others that play the same. The return of the best of all is to be kept; students may be of each.
        keep: the share of the return above random that the result has to keep.
        within_s: seconds for everything.
        objective: what is made small: model_bytes, flash_bytes, ram_bytes, n_macs, latency_s or instructions.
        format: of the artifact, c or onnx.
        target: what it is to run on: host, or a processor that is emulated; for flash and RAM cortex-m0plus where none
            is named.
        max_flash: bytes of flash that it may take on that processor.
        max_ram: the same of RAM.
        deadline_s: seconds that a decision may take on the host.
        train: whether students are trained; without it only the steps that need no training are tried.
        seed: everything random follows from it.
        max_steps: after which an episode is cut; None: the usual.
        observations: raw ones to calibrate on, instead of episodes.
        workers: processes; None: one a core.
        say: told of what goes on, a sentence each.
        force: begin anew in the folder of any shrink, and use a folder that holds something else.

    Raises:
        LilliputError: the environment does not fit the policy, the policy is not better than random there, or the
            folder is another's or in use.
    """
    from lilliput.shrink import page, run
    from lilliput.shrink.request import Request
    from lilliput.study.environment import about_the_task, resolve

    folder = Path(folder)
    request = Request(
        task=resolve(policy.provenance, environment, json.dumps(dict(environment_kwargs or {}))),
        keep=keep,
        within_s=within_s,
        objective=objective,
        format=format,
        seed=seed,
        workers=workers or os.cpu_count() or 1,
        train=train,
        target=target,
        max_flash=max_flash,
        max_ram=max_ram,
        deadline_s=deadline_s,
        max_steps=max_steps,
    )
    told = say or (lambda _: None)
    result = run.shrink(policy, request, folder, told, teachers=teachers, observations=observations, force=force)
    origins = [one.provenance for one in (policy, *teachers)]
    caveats = [caveat for one in origins for caveat in about_the_task(one.environment, request.task)]
    guesses = [guess for one in origins for guess in one.guesses]
    with contextlib.suppress(MissingDependency):
        title = f"{', '.join(one.source for one in origins)} on {request.task.id}, made small"
        page.write(folder, result, keep, title, caveats=tuple(dict.fromkeys((*caveats, *guesses))))
    return result
