"""A replay buffer on the disk, append-only: a training that was killed finds it as it was at its last checkpoint."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer

from lilliput.errors import LilliputError

_SPARE_BYTES = 256 << 20
"""Left free beside it: checkpoints and policies are written too."""


class DiskReplayBuffer(NStepReplayBuffer):
    """Keeps every transition of a training in files, and draws from the last `window` of them.

    Nothing is ever overwritten, so what stands behind the position of a checkpoint is written again, alike, by the
    training that goes on from it. Of more than one step (`n_steps`) the rewards are summed when they are drawn.
    """

    def __init__(
        self,
        folder: Path,
        capacity: int,
        window: int,
        space: Any,
        actions: Any,
        n_envs: int,
        *,
        n_steps: int = 1,
        gamma: float = 0.99,
    ) -> None:
        super().__init__(1, space, actions, "cpu", n_envs=n_envs, n_steps=n_steps, gamma=gamma)
        self.window = max(window // n_envs, 1)
        self.buffer_size = max(capacity // n_envs, 1)
        names = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
        shapes = {name: (self.buffer_size, *getattr(self, name).shape[1:]) for name in names}
        check_space(folder, sum(_bytes(shapes[name], getattr(self, name).dtype) for name in names))
        for name in names:
            setattr(self, name, _mapped(folder / f"{name}.npy", shapes[name], getattr(self, name).dtype))

    def sample(self, batch_size: int, env: Any = None) -> Any:
        first = max(self.pos - self.window, 0)
        return self._get_samples(np.random.randint(first, self.pos, size=batch_size), env=env)  # noqa: NPY002

    def _get_samples(self, batch_inds: np.ndarray, env: Any = None) -> Any:
        drawn = NStepReplayBuffer if self.n_steps > 1 else ReplayBuffer
        return drawn._get_samples(self, batch_inds, env)

    def begin_episodes(self) -> None:
        """Marks that what comes next does not follow on what is there: several steps are not summed across."""
        if self.pos:
            self.timeouts[self.pos - 1] = np.logical_or(self.timeouts[self.pos - 1], 1 - self.dones[self.pos - 1])

    def flush(self) -> None:
        """Hands what was written to the disk."""
        for name in ("observations", "next_observations", "actions", "rewards", "dones", "timeouts"):
            getattr(self, name).flush()


def check_space(folder: Path, needed: int) -> None:
    """Checks that the folder's disk has room for that many bytes more than are in it.

    Raises:
        LilliputError: it has not; both sizes are named.
    """
    there = sum(file.stat().st_size for file in folder.glob("*.npy"))
    free = shutil.disk_usage(folder).free
    if needed - there + _SPARE_BYTES > free:
        raise LilliputError(
            f"the replay buffer takes {needed / 1e6:,.0f} MB in {folder}, with {_SPARE_BYTES / 1e6:,.0f} MB to spare, "
            f"and {free / 1e6:,.0f} MB are free; make room, take fewer steps, or choose another folder"
        )


def _bytes(shape: tuple[int, ...], dtype: Any) -> int:
    return int(np.prod(shape)) * np.dtype(dtype).itemsize


def _mapped(path: Path, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    if not path.exists():
        part = path.with_suffix(".part")
        try:
            np.lib.format.open_memmap(part, mode="w+", dtype=dtype, shape=shape)
            with part.open("r+b") as file:
                # A file with holes would end the process by a signal where the disk is full.
                os.posix_fallocate(file.fileno(), 0, part.stat().st_size)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise LilliputError(f"{path} cannot be written: {error.strerror or error}") from error
        part.replace(path)
    found = np.lib.format.open_memmap(path, mode="r+")
    if found.shape != shape or found.dtype != np.dtype(dtype):
        raise LilliputError(f"{path} holds {found.dtype}{list(found.shape)}, not {np.dtype(dtype)}{list(shape)}")
    return found
