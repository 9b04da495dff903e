"""Short clips of baseline and candidate side by side, on the same seed, for the page of a study."""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lilliput.errors import LilliputError, MissingDependency
from lilliput.policies.play import make_environment
from lilliput.record import Record
from lilliput.report.label import labels
from lilliput.report.page import Clip
from lilliput.report.row import Row, by_policy
from lilliput.report.smallest import promising, smallest

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
    try:
        from PIL import Image  # noqa: F401  before anything is played
    except ImportError as error:
        raise MissingDependency("--replay needs pillow; install it with: pip install 'lilliput[report]'") from error
    os.environ.setdefault("MUJOCO_GL", "egl")  # MuJoCo draws without a display
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
            clips.append(_clip([side for side in sides if side is not None], names[key], folder))
        except LilliputError as error:
            without.append(f"no replay of {names[key]}: {error}")
    return clips, without


def _clip(sides: Sequence[Record], name: str, folder: Path) -> Clip:
    from PIL import Image

    seed = int(sides[0].cell.items[0])
    played = [_frames(side, seed, folder / side.artifact) for side in sides]
    length = max(map(len, played))
    # A side that ended stands still.
    pairs = [np.hstack([frames[min(n, len(frames) - 1)] for frames in played]) for n in range(length)]
    images = [Image.fromarray(pair) for pair in pairs]
    packed = io.BytesIO()
    duration = round(1000 / FRAMES_A_SECOND)
    images[0].save(packed, "WEBP", save_all=True, append_images=images[1:], duration=duration, loop=0, quality=40)
    return Clip(name, sides[1].cell.recipe, sides[1].cell.format, seed, images[0].size, packed.getvalue())


def _frames(record: Record, seed: int, artifact: Path) -> list[np.ndarray]:
    """The episode's first seconds as small pictures.

    Raises:
        LilliputError: the environment does not draw.
    """
    from lilliput.policies.export import open_artifact

    task = record.cell.task
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
