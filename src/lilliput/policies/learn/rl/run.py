"""Training in segments: between two of them everything is on the disk, and a training that was killed goes on there.

Each segment begins with fresh episodes and generators made from the seed and the segment's number, whether or not the
process is the one that ended the segment before. So an interrupted and an uninterrupted training are bitwise equal.
"""

import contextlib
import dataclasses
import hashlib
import io
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecTransposeImage, is_vecenv_wrapped

from lilliput.errors import LilliputError
from lilliput.files import is_out_of_space, locked, write_whole
from lilliput.policies.file import read, write
from lilliput.policies.learn import curve
from lilliput.policies.learn.rl import chain as chains
from lilliput.policies.learn.rl import checkpoint, pruning
from lilliput.policies.learn.rl.algorithm import Algorithm, algorithm
from lilliput.policies.learn.rl.folder import THEIRS, check_ours, enter
from lilliput.policies.learn.rl.model import is_convolved, make_model, settings_of
from lilliput.policies.learn.rl.start import begin_from, networks_of
from lilliput.policies.learn.rl.training import Training
from lilliput.policies.learner import Checkpoint
from lilliput.policies.load import load_checkpoint
from lilliput.policies.play import SeedPlan, episode_returns
from lilliput.policies.play.boundary import BadExchange
from lilliput.policies.play.failure import RAISED
from lilliput.policies.policy import Policy
from lilliput.policies.students.torch_layer import Bits, Compressed

Progress = Callable[[str, int, int], None]

_CHECK_EVERY: Final = 1000
"""Steps between two looks at whether the weights are still numbers."""


@final
@dataclass(frozen=True)
class Evaluation:
    """Returns of the policy as it would be deployed, after so many steps, on episodes that nothing else plays."""

    step: int
    returns: tuple[float, ...]


@final
@dataclass(frozen=True)
class Trained:
    """What a training has come to.

    Attributes:
        folder: holds policy.lilliput, best.lilliput, model.zip (with vecnormalize.pkl) and what is needed to go on.
        policy: after the last step.
        best: the one whose evaluation had the highest mean, which is a choice by luck too: judge it on other episodes.
        steps: that were done; fewer than asked for where the time was up.
        evaluations: one a checkpoint.
        notes: what was taken for granted, in words.
    """

    folder: Path
    policy: Policy
    best: Policy
    steps: int
    evaluations: tuple[Evaluation, ...]
    notes: tuple[str, ...]


def train(
    training: Training,
    folder: str | Path,
    *,
    start_from: str | Path | None = None,
    within: float | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Trained:
    """The policy that the training leads to; what a folder holds of the same training is gone on from.

    Args:
        training: what to do.
        folder: for everything that is kept.
        start_from: a Stable-Baselines3 zip of the same algorithm whose policy goes on learning.
        within: seconds after which it stops at the next checkpoint; the same call goes on.
        force: begins anew where the folder holds another training.
        progress: called with words, steps done and steps in all.

    Raises:
        LilliputError: an environment that the algorithm cannot play, a folder of something else, a full disk, or losses
            that are no numbers any more; the last checkpoint stays.
    """
    row = algorithm(training.algorithm)
    if start_from is not None:
        digest = hashlib.sha256(Path(start_from).read_bytes()).hexdigest()
        training = dataclasses.replace(training, start_from=digest)
    chosen = settings_of(training, row, None if start_from is None else networks_of(start_from, training.algorithm))
    folder = Path(folder)
    torch.set_num_threads(1)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        twin = make_model(training, row, chosen)  # what cannot be made, or cannot go on, leaves no trace
        if start_from is not None:
            begin_from(twin, start_from)
    folder.mkdir(parents=True, exist_ok=True)
    check_ours(folder, force=force)  # before the lock, which is a file
    with locked(folder):
        enter(folder, training, force=force)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the twin has said it
            model = make_model(training, row, chosen, folder / "replay")
        compressed = training.quantization is not None or training.pruning is not None
        words = dict.fromkeys(" ".join(str(one.message).split()) for one in said)
        notes = (f"hyperparameters: {chosen.source}", *words)
        shown = model.observation_space
        if len(shown.shape) == 3 and not is_convolved(shown):
            size = "x".join(map(str, shown.shape))
            notes += (f"{size} {shown.dtype} is no image that the convolutions take: it goes in as one vector",)
        if start_from is not None:
            notes += begin_from(model, start_from)
        chain = _installed(model, row, training) if compressed else ()
        course = TrainingRun(
            training, row, model, twin if compressed else None, chain, folder, progress or (lambda *_: None)
        )
        done = course.resume()
        deadline = None if within is None else time.monotonic() + within
        while done < training.steps:
            done = course.segment(done)
            if deadline is not None and time.monotonic() > deadline:
                break
        return course.result((*notes, *course.remarks()))


def _installed(model: Any, row: Algorithm, training: Training) -> tuple[Compressed, ...]:
    asked = training.quantization
    bits = None if asked is None else Bits(asked.weight_bits, asked.activation_bits)
    chain = chains.install(model, row, bits, None if asked is None else asked.input_bits)
    if training.pruning is not None and training.pruning.method == "rigl":
        for layer in chain:
            layer.watch()
    return chain


class _SegmentEnd(BaseException):
    """Leaves the framework's loop between two rollouts, where nothing is under way."""


class _Between(BaseCallback):
    """What happens between rollouts: pruning, the beginning of quantization, the end of the segment."""

    def __init__(self, course: "TrainingRun", end: int) -> None:
        super().__init__()
        self._course, self._end = course, end
        self._episode_over = True
        self._checked = 0

    def _on_rollout_start(self) -> None:
        step = self.model.num_timesteps
        over = self._episode_over or self._course.row.on_policy or step >= self._end + self._course.training.segment
        if step >= self._end and over:
            raise _SegmentEnd
        self._course.compress(step)
        if step - self._checked >= _CHECK_EVERY:
            self._checked = step
            self._course.check_finite(step)
            self._course.report(step)

    def _on_step(self) -> bool:
        dones = self.locals.get("dones")
        self._episode_over = dones is not None and bool(np.any(dones))
        return True


@dataclass
class TrainingRun:
    """One training under way."""

    training: Training
    row: Algorithm
    model: Any
    twin: Any
    chain: tuple[Compressed, ...]
    folder: Path
    progress: Progress
    evaluations: tuple[Evaluation, ...] = ()
    moment: int = 0

    def resume(self) -> int:
        """How many steps the folder's checkpoint has done, all of it being restored."""
        found = checkpoint.restore(self.folder, self.model)
        if found is None:
            return 0
        self.moment = found["moment"]
        self.evaluations = tuple(Evaluation(step, tuple(returns)) for step, returns in found["evaluations"])
        return self.model.num_timesteps

    def segment(self, done: int) -> int:
        """The number of steps done after one more segment, which is on the disk."""
        number = len(self.evaluations)
        end = min((done // self.training.segment + 1) * self.training.segment, self.training.steps)
        seed = int(np.random.SeedSequence(self.training.seed, spawn_key=(number,)).generate_state(1)[0] >> 1)
        self.model.set_random_seed(seed)
        self.model._last_obs = None  # the framework resets its environments then
        if not self.row.on_policy:
            self.model.replay_buffer.begin_episodes()
        between = _Between(self, end)
        with self._said(), contextlib.suppress(_SegmentEnd):
            self.model.learn(self.training.steps - done, callback=between, reset_num_timesteps=False, log_interval=None)
        step = self.model.num_timesteps
        self.check_finite(step)
        self.compress(step)
        with self._room():
            deployed = self.deployed()
            returns = self._evaluate(deployed.policy)
            best = max((float(np.mean(one.returns)) for one in self.evaluations), default=-np.inf)
            evaluations = (*self.evaluations, Evaluation(step, returns))
            write(deployed, self.folder / "policy.lilliput", force=True)
            if float(np.mean(returns)) > best:
                write(deployed, self.folder / "best.lilliput", force=True)
            saved = [(one.step, list(one.returns)) for one in evaluations]
            checkpoint.save(self.folder, self.model, {"moment": self.moment, "evaluations": saved})
            curve.write(self.folder, saved)
        self.evaluations = evaluations
        self.report(step)
        return step

    def compress(self, step: int) -> None:
        """Cuts masks and begins to quantize, where it is time to."""
        share = step / self.training.steps
        if (plan := self.training.pruning) is not None and plan.moment(share) > self.moment:
            self.moment = plan.moment(share)
            match plan.method:
                case "gradual":
                    pruning.cut(self.chain, plan, plan.at(share))
                case "set" | "rigl":
                    pruning.move(self.chain, plan, self.moment, self.training.seed)
            chains.mirror(self.model, self.row, self.chain, steps=False)
        if (asked := self.training.quantization) is not None and share >= asked.start:
            waiting = [layer for layer in self.chain if not bool(layer.quantized)]
            if waiting and (asked.activation_bits is None or all(bool((x.largest > 0).any()) for x in waiting)):
                for layer in waiting:
                    layer.begin()
                chains.mirror(self.model, self.row, self.chain, steps=True)

    def check_finite(self, step: int) -> None:
        """Checks that the weights are numbers.

        Raises:
            LilliputError: they are not.
        """
        for name, value in self.model.policy.named_parameters():
            if not bool(torch.isfinite(value).all()):
                raise LilliputError(
                    f"training diverged: {name} is not finite after {step} steps; {self._kept}; a smaller "
                    "learning_rate may help, unless the environment pays or shows what is no number"
                )

    def report(self, step: int) -> None:
        """Tells how far it is."""
        said = f", return {np.mean(self.evaluations[-1].returns):,.0f}" if self.evaluations else ""
        self.progress(f"training {self.training.algorithm}{said}", min(step, self.training.steps), self.training.steps)

    def deployed(self) -> Checkpoint:
        """The policy as an artifact would have it; model.zip holds what the framework itself can load."""
        model = self.model
        if self.twin is not None:
            self.twin.policy.load_state_dict(chains.plain_state(model))
            self.twin.num_timesteps, self.twin._n_updates = model.num_timesteps, model._n_updates
            self.twin._last_original_obs = model._last_original_obs
            self.twin._last_obs = model._last_obs
            model = self.twin
        zipped, statistics = (self.folder / name for name in THEIRS)
        data = io.BytesIO()
        model.save(data)
        write_whole(zipped, data.getvalue())
        normalize = self.model.get_vec_normalize_env()
        if normalize is not None:
            part = self.folder / ".vecnormalize.part"
            try:
                normalize.save(str(part))
                part.replace(statistics)
            finally:
                part.unlink(missing_ok=True)
        loaded = load_checkpoint(
            zipped,
            normalizer=False if normalize is None else statistics,
            wrappers=self._worn() or None,
        )
        policy = chains.deployed(loaded.policy, self.chain) if self.chain else loaded.policy
        provenance = dataclasses.replace(
            policy.provenance,
            source=self.training.words,
            guesses=(),  # a loader's; what made the zip knows
            source_sha256="",  # of a zip with the time in it: the same training would give another file
            environment=self.training.environment,
            algorithm=self.training.algorithm.upper(),
        )
        return dataclasses.replace(loaded, policy=dataclasses.replace(policy, provenance=provenance))

    def _worn(self) -> tuple[str, ...]:
        """What stands before the environment, the framework's turning of images to channels first with it."""
        worn = self.training.wrappers
        turned = is_vecenv_wrapped(self.model.get_env(), VecTransposeImage)
        return (*worn, "transpose_image") if turned and not any("transpose" in text for text in worn) else worn

    def remarks(self) -> tuple[str, ...]:
        """What was asked for and did not come to be, in words."""
        said: list[str] = []
        if not self.model._n_updates:
            starts = self.model.learning_starts
            said.append(f"nothing was learned: learning begins after {starts:,} steps (learning_starts)")
        asked = self.training.quantization
        if asked is not None and self.model.num_timesteps >= asked.start * self.training.steps:
            left = sum(not bool(layer.quantized) for layer in self.chain)
            if left:
                said.append(f"{left} of {len(self.chain)} layers are not quantized: nothing but 0 ever came into one")
        return tuple(said)

    def result(self, notes: tuple[str, ...]) -> Trained:
        """What it has come to."""
        policy, best = (read(self.folder / name) for name in ("policy.lilliput", "best.lilliput"))
        return Trained(self.folder, policy, best, self.model.num_timesteps, self.evaluations, notes)

    def _evaluate(self, policy: Policy) -> tuple[float, ...]:
        seeds = SeedPlan(self.training.seed).episodes("selection", self.training.episodes)
        returns = episode_returns(
            policy, self.training.environment, seeds, environment_kwargs=dict(self.training.environment_kwargs)
        )
        return tuple(float(one) for one in returns)

    @property
    def _kept(self) -> str:
        """What is not lost by an end now, in words."""
        if not self.evaluations:
            return "nothing was kept yet"
        return f"what was there after {self.evaluations[-1].step} steps is kept"

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        """What the framework or the environment raises, as one line of ours."""
        try:
            yield
        except LilliputError:
            raise
        except RAISED as error:
            step = self.model.num_timesteps
            self.check_finite(step)  # says why, where that is why
            kind = "" if isinstance(error, BadExchange) else f"{type(error).__name__}: "
            reason = " ".join(str(error).split())[:160] or type(error).__name__
            raise LilliputError(f"training stopped after {step} steps ({kind}{reason}); {self._kept}") from error

    @contextlib.contextmanager
    def _room(self) -> Iterator[None]:
        """A disk that is full at a checkpoint, in one line; the last checkpoint is whole, and is gone on from."""
        try:
            yield
        except (OSError, LilliputError) as error:
            if not is_out_of_space(error):
                raise
            raise LilliputError(
                f"the disk of {self.folder} is full after {self.model.num_timesteps} steps; {self._kept}; make "
                "room, and the same command goes on"
            ) from error
