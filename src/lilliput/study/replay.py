"""Short clips of baseline and candidate side by side, on the same seed, for the page of a study."""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lilliput.errors import LilliputError, MissingDependency
from lilliput.policies.export import open_artifact
from lilliput.policies.play import make_environment
from lilliput.record import Record
from lilliput.report.label import labels
from lilliput.report.page import Clip
from lilliput.report.row import Row, by_policy
from lilliput.report.smallest import promising, smallest
from lilliput.task import Task

SECONDS = 6.0
FRAMES_A_SECOND = 12
HEIGHT = 160
"""Pixels. A clip takes 50 to 300 kB."""


def replays(records: Sequence[Record], rows: Sequence[Row], keep: float, folder: Path) -> tuple[list[Clip], list[str]]:
    """A clip of each policy beside its smallest candidate that kept the return, and why others have none.

    Where nothing surely kept it the smallest that looks as if is shown.

    Raises:
        MissingDependency: pillow is not installed.
    """
    check_pillow()
    names, known = labels(rows), {record.digest: record for record in records}
    clips, without = [], []
    for (key, group), row in zip(by_policy(rows).items(), smallest(rows), strict=True):
        row = row or promising(group, keep)
        if row is None:
            without.append(f"no replay of {names[key]}: no candidate kept the return")
            continue
        baseline = next((r for r in group if not r.recipe and r.format == row.format), None)
        sides = [next((known[d] for d in r.digests if known[d].artifact), None) for r in (baseline, row) if r]
        if len(sides) < 2 or any(side is None or not (folder / side.artifact).is_dir() for side in sides):
            without.append(f"no replay of {names[key]}: its artifacts are not in {folder}")
            continue
        try:
            clips.append(clip([side for side in sides if side is not None], names[key], folder))
        except LilliputError as error:
            without.append(f"no replay of {names[key]}: {error}")
    return clips, without


def check_pillow() -> None:
    """Check, before anything is played, that clips can be written.

    Raises:
        MissingDependency: pillow is not installed.
    """
    try:
        from PIL import Image  # noqa: F401
    except ImportError as error:
        raise MissingDependency("--replay needs pillow; install it with: pip install 'lilliput[report]'") from error


def clip(sides: Sequence[Record], name: str, folder: Path) -> Clip:
    """The clip of a baseline and a candidate, on the first of their episodes.

    Raises:
        LilliputError: the environment does not draw, or an artifact is not in the folder.
    """
    seed = int(sides[0].cell.items[0])
    size, webp = side_by_side(sides[0].cell.task, [folder / side.artifact for side in sides], seed)
    return Clip(name, sides[1].cell.recipe, sides[1].cell.format, seed, size, webp)


def side_by_side(task: Task, artifacts: Sequence[Path], seed: int) -> tuple[tuple[int, int], bytes]:
    """The size of the pictures and the animated picture (WebP) of what those artifacts do on one seed, left to right.

    Raises:
        LilliputError: the environment does not draw.
    """
    from PIL import Image

    os.environ.setdefault("MUJOCO_GL", "egl")  # MuJoCo draws without a display
    played = [_frames(task, seed, artifact) for artifact in artifacts]
    length = max(map(len, played))
    # A side that ended stands still.
    pairs = [np.hstack([frames[min(n, len(frames) - 1)] for frames in played]) for n in range(length)]
    images = [Image.fromarray(pair) for pair in pairs]
    packed = io.BytesIO()
    duration = round(1000 / FRAMES_A_SECOND)
    images[0].save(packed, "WEBP", save_all=True, append_images=images[1:], duration=duration, loop=0, quality=40)
    return images[0].size, packed.getvalue()


def _frames(task: Task, seed: int, artifact: Path) -> list[np.ndarray]:
    """The episode's first seconds as small pictures.

    Raises:
        LilliputError: the environment does not draw.
    """
    kwargs = {**task.kwargs, "render_mode": "rgb_array"}
    environment = make_environment(task.id, wrappers=task.wrappers, environment_kwargs=kwargs)
    try:
        _follow(environment.unwrapped)
        act = open_artifact(artifact).begin(seed)
        every = max(1, round(environment.metadata.get("render_fps", 30) / FRAMES_A_SECOND))
        observation, _ = environment.reset(seed=seed)
        frames: list[np.ndarray] = []
        for step in range(round(SECONDS * FRAMES_A_SECOND) * every):
            if step % every == 0:
                frames.append(_small(environment.render(), task.id))
            observation, _reward, terminated, truncated, _info = environment.step(act(observation))
            if terminated or truncated:
                frames.append(_small(environment.render(), task.id))
                break
        return frames
    finally:
        environment.close()


def _follow(environment: Any) -> None:
    """Let a MuJoCo environment be seen by the camera that its model lets follow the robot, not by a fixed one."""
    renderer = getattr(environment, "mujoco_renderer", None)
    if renderer is not None and environment.model.ncam:
        renderer.camera_id = 0


def _small(frame: Any, environment: str) -> np.ndarray:
    from PIL import Image

    if not isinstance(frame, np.ndarray) or frame.ndim != 3:
        raise LilliputError(f"{environment} does not draw itself")
    picture = Image.fromarray(frame)
    return np.asarray(picture.resize((round(HEIGHT * picture.width / picture.height), HEIGHT)))
