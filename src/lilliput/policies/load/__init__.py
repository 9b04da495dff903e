"""Checkpoints to policies and what teaches students of them: nothing in a file is executed, no framework is needed."""

import dataclasses
import hashlib
import inspect
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, ParamSpec, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers, spaces
from lilliput.policies.learner import Checkpoint
from lilliput.policies.load import brax, rl_zoo
from lilliput.policies.load import contract as robot_contract
from lilliput.policies.load.action_bounds import rebounded
from lilliput.policies.load.archive import read_archive
from lilliput.policies.load.cleanrl import trained_on
from lilliput.policies.load.frames import frame_of, stacked_inside
from lilliput.policies.load.options import Bound, Options
from lilliput.policies.load.sb3_statistics import statistics_of
from lilliput.policies.load.source import Source
from lilliput.policies.load.stable_baselines3 import CHANNELS_UNSAID, read_traces
from lilliput.policies.load.table import is_lilliput, is_zip, printable, read
from lilliput.policies.load.vecnormalize import read_normalizer, standardize
from lilliput.policies.play.wrappers import Atari, format_wrapper, parse_wrappers
from lilliput.policies.policy import Policy, Provenance

__all__ = ["load_checkpoint", "load_policy"]

MAX_FILE_BYTES = 512 << 20
_Told = ParamSpec("_Told")

_OF_ROBOTS = ("onnx", "torchscript", "rsl_rl", "rl_games", "skrl")
"""Frameworks that leave files beside a policy that say how a robot runs it."""


def load_checkpoint(
    source: str | os.PathLike[str],
    *,
    normalizer: str | os.PathLike[str] | Literal[False] | None = None,
    output: str | None = None,
    activation: str | None = None,
    action: str | None = None,
    action_low: Bound | None = None,
    action_high: Bound | None = None,
    environment: str | None = None,
    environment_kwargs: Mapping[str, Any] | None = None,
    wrappers: Sequence[str] | None = None,
    rescale_action: bool | None = None,
    plain: bool = False,
    contract: Literal["inside"] | None = None,
    previous_action: Sequence[int] | Literal["contract"] | None = None,
    algorithm: str | None = None,
) -> Checkpoint:
    """What a checkpoint file or rl-zoo folder holds: the policy, its observation normalizer as its first layer, and
    what students can learn by besides: the critic and the spread of actions, where they are there.

    What a file does not say is asked for, never taken in silence; what nobody asked for is refused.

    Args:
        source: a Stable-Baselines3 or sb3-contrib zip, an rl-zoo folder, a torch file, an ONNX file or a
            .lilliput file.
        normalizer: a VecNormalize pickle, or an .npz or .json file with `mean`, `var` and optionally `epsilon` and
            `clip`; False: observations were not normalized. Without it, the statistics that stand beside a
            Stable-Baselines3 zip are taken where its own data do not contradict them (see docs/formats.md).
        output: which output of an ONNX file is the action, where its name does not tell.
        activation: of the hidden layers: relu, tanh, elu, leaky_relu, silu, gelu, sigmoid or none.
        action: "discrete" where an output is a number a choice (logits, Q-values), of which the largest is chosen;
            "continuous" where it is the action itself; "tanh" where its tanh is, moved to the bounds of the action.
        action_low: the lower bounds of the action, one number or one each.
        action_high: the upper bounds.
        environment: the id of the environment whose bounds the action has, where neither file nor argument says them.
        environment_kwargs: its arguments.
        wrappers: what the environment does on the way, from the closed list, the innermost first, such as
            ["frame_stack(4)"]; without it, what the source says.
        rescale_action: True: the source's actions are moved from its bounds to those of the environment, or to
            action_low and action_high; False: they are meant as they are, whatever its bounds.
        plain: that the layers of a state dict are all that there is, where their sizes leave room for sums and gates
            between them, or a norm among them may be one of several kinds.
        contract: "inside": the scale, offset and clip of actions and the scales of readings that the file's metadata or
            a `deploy.yaml` beside it says are done by the policy; None: they are only told.
        previous_action: from which number of the observation to before which the policy's own last action stands
            (36, 48), or its last ones, the oldest first: the policy remembers it, and what is given there is not read;
            "contract": where the file's metadata or a `deploy.yaml` beside it says, if they leave no doubt.
        algorithm: what trained it, where the file leaves several (such as "PPO, TRPO or VPG") or does not say.

    Raises:
        LilliputError: no such file, one that cannot be read, or a policy of a kind that Lilliput does not have.
    """
    worn = None if wrappers is None else tuple(format_wrapper(wrapper) for wrapper in parse_wrappers(wrappers))
    options = Options(
        output,
        activation,
        action,
        action_low,
        action_high,
        environment,
        environment_kwargs or {},
        normalizer is not None,
        wrappers is not None,
        plain,
        rescale_action is not None,
    )
    path = Path(source)
    if path.is_dir():
        brax.check_folder(path)
        path = rl_zoo.zip_of_folder(path)
    name = repr(path.name)
    data = _read_file(path)
    # Numbers too large for float32 become infinite here and are refused by Policy.
    with np.errstate(all="ignore"):
        checkpoint = read(Source(data, name, path.parent, options))
        beside = _beside(path, data, checkpoint, normalizer, worn)
        checkpoint, beside = _standardized(checkpoint, beside, name, refused=normalizer is False)
        if algorithm is not None:
            checkpoint = _told(checkpoint, algorithm=_one_of(checkpoint.provenance.algorithm, algorithm, name))
        if rescale_action is not None:
            checkpoint = rebounded(checkpoint, options, name, moved=rescale_action)
    if unused := options.unused():
        raise LilliputError(
            f"{name} needs no {' and no '.join(unused)} to be read; leave {'them' if len(unused) > 1 else 'it'} away"
        )
    if beside.worn is not None:
        checkpoint = _told(checkpoint, wrappers=beside.worn)
    own = is_lilliput(data)
    folder = path.parent if not own and checkpoint.provenance.framework in _OF_ROBOTS else None
    checkpoint, unread = _with_contract(checkpoint, folder, contract, previous_action, name)
    if own:
        return checkpoint
    notes = (*beside.notes, *unread, *(_doubts(checkpoint.policy) if worn is None else ()))
    named = Provenance(source=path.name, source_sha256=hashlib.sha256(data).hexdigest())
    return _with_side(checkpoint, dataclasses.replace(beside, notes=notes), named, given=normalizer is not None)


@final
@dataclasses.dataclass(frozen=True, eq=False)
class _Beside:
    """What is known of a file from beside it.

    Attributes:
        side: what the folders of rl-zoo and of CleanRL say.
        statistics: of the observations, told or found.
        frame: a single observation, where statistics may be of that and the policy stacks several.
        worn: the wrappers that were told.
        notes: what was taken without being told.
    """

    side: rl_zoo.Side
    statistics: Path | None
    frame: spaces.Box | None
    worn: tuple[str, ...] | None
    notes: tuple[str, ...] = ()

    def unstacked(self) -> "_Beside":
        """The same of a policy that stacks observations itself: the last wrapper is none any more."""
        side = dataclasses.replace(self.side, wrappers=self.side.wrappers and self.side.wrappers[:-1])
        return dataclasses.replace(self, side=side, worn=self.worn and self.worn[:-1])


def _beside(
    path: Path,
    data: bytes,
    checkpoint: Checkpoint,
    normalizer: str | os.PathLike[str] | Literal[False] | None,
    worn: tuple[str, ...] | None,
) -> _Beside:
    space, framework = checkpoint.policy.observation_space, checkpoint.provenance.framework
    told = Path(normalizer) if normalizer is not None and normalizer is not False else None
    if framework == "cleanrl":
        return _Beside(rl_zoo.Side(environment=trained_on(path.parent.name)), told, frame_of(space, worn or ()), worn)
    if framework != "stable_baselines3" or not is_zip(data):
        return _Beside(rl_zoo.Side(), told, frame_of(space, worn or ()), worn)
    side = rl_zoo.side_of_zip(path)
    frame = frame_of(space, (side.wrappers or ()) if worn is None else worn)
    if normalizer is not None:
        return _Beside(side, told, frame, worn, side.notes)
    traces = read_traces(read_archive(data, repr(path.name)), checkpoint.policy)
    found = statistics_of(path, side, space, traces, frame)
    return _Beside(side, found.path, frame, worn, (*side.notes, *found.notes))


def _standardized(checkpoint: Checkpoint, beside: _Beside, name: str, *, refused: bool) -> tuple[Checkpoint, _Beside]:
    """The policy behind the statistics beside it, or behind none where these were refused."""
    if beside.statistics is not None:
        checkpoint = _normalized(checkpoint, beside.statistics, beside.frame)
        stacks = checkpoint.policy.observation_space is beside.frame
        return checkpoint, beside.unstacked() if stacks else beside
    if refused and _has_normalizer(checkpoint.policy):
        raise LilliputError(f"{name} has its normalizer inside, which cannot be left out; leave --no-normalizer away")
    return checkpoint, beside


def _with_contract(
    checkpoint: Checkpoint,
    folder: Path | None,
    contract: Literal["inside"] | None,
    previous_action: Sequence[int] | Literal["contract"] | None,
    name: str,
) -> tuple[Checkpoint, tuple[str, ...]]:
    """The policy with what files in the folder, or its own, say of how a robot runs it; and what of them was unread."""
    unread: tuple[str, ...] = ()
    if folder is not None:
        told, unread = robot_contract.beside(folder)
        checkpoint = _told(checkpoint, contract=(*checkpoint.provenance.contract, *told))
    if previous_action is not None:
        scaled = contract is not None
        checkpoint = robot_contract.remembering(checkpoint, previous_action, name, scaled=scaled)
    if contract is not None:
        return robot_contract.inside(checkpoint, name), unread
    return checkpoint, unread if folder is None else (*unread, *robot_contract.remark(checkpoint.policy, name))


def _policy_alone(load: Callable[_Told, Checkpoint]) -> Callable[_Told, Policy]:
    def load_policy(*source: _Told.args, **told: _Told.kwargs) -> Policy:
        """The policy in a checkpoint file or rl-zoo folder: that of `load_checkpoint`, with the same arguments.

        Students can be taught by more than a policy: `shrink`, `compare` and `Context` take the whole checkpoint too.

        Raises:
            LilliputError: as `load_checkpoint`.
        """
        return load(*source, **told).policy

    load_policy.__qualname__ = load_policy.__name__
    signature = inspect.signature(load).replace(return_annotation=Policy)
    vars(load_policy)["__signature__"] = signature  # for help()
    return load_policy


load_policy = _policy_alone(load_checkpoint)


def _told(checkpoint: Checkpoint, **told: Any) -> Checkpoint:
    """The same with these fields of its provenance."""
    provenance = dataclasses.replace(checkpoint.provenance, **told)
    return dataclasses.replace(checkpoint, policy=dataclasses.replace(checkpoint.policy, provenance=provenance))


def _one_of(possible: str, algorithm: str, name: str) -> str:
    """The algorithm that was told, which is one of those that the file leaves."""
    if possible and algorithm not in re.split(r", | or ", possible):
        raise LilliputError(f"{name} was trained by {possible}, not by {algorithm!r}; leave --algorithm away")
    return algorithm


def _doubts(policy: Policy) -> tuple[str, ...]:
    """A word on Humanoid's contact forces, which decide everything and which no file tells of."""
    sizes = (spaces.input_shape(policy.observation_space), spaces.action_shape(policy.action_space))
    doubt = "Humanoid's contact forces count as the environment gives them; --wrapper zero_contact_forces: as 0"
    return (doubt,) if sizes == ((376,), (17,)) else ()


def _read_file(path: Path) -> bytes:
    name = repr(path.name)
    try:
        if not path.is_file():
            raise LilliputError(
                f"{str(path)!r} is not a file; give a checkpoint or an rl-zoo folder"
                if path.exists()
                else f"{str(path)!r} does not exist"
            )
        if path.stat().st_size > MAX_FILE_BYTES:
            raise LilliputError(f"{name} has {path.stat().st_size} bytes; at most {MAX_FILE_BYTES} are read")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise LilliputError(f"{str(path)!r} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _has_normalizer(policy: Policy) -> bool:
    """Whether the first layer normalizes; an image's division by 255 has one number for all."""
    return any(isinstance(layer, layers.Standardize) and layer.mean.shape for layer in policy.layers[:1])


def _normalized(checkpoint: Checkpoint, path: Path, frame: spaces.Box | None) -> Checkpoint:
    """The policy with the normalizer of that file as its first layer, which its critic sees through as well.

    Of statistics of a `frame` the policy is one of single observations that stacks them itself.
    """
    policy = checkpoint.policy
    if policy.provenance.recipe or _has_normalizer(policy):
        raise LilliputError(
            f"{policy.provenance.source or 'the policy'} has its normalizer inside already; leave normalizer= away"
        )
    name = repr(path.name)
    normalizer = read_normalizer(_read_file(path), name)
    layer = standardize(normalizer, policy.observation_space, name, frame)
    if layer is None:
        return checkpoint
    if frame is not None and layer.mean.shape == frame.shape:
        checkpoint = stacked_inside(checkpoint, frame)
    policy, critic = checkpoint.policy, checkpoint.learner.critic
    provenance = dataclasses.replace(policy.provenance, guesses=policy.provenance.guesses + normalizer.guesses)
    critic = (_beside_action(layer, policy), *critic) if critic else ()
    return Checkpoint(
        dataclasses.replace(policy, layers=(layer, *policy.layers), provenance=provenance),
        dataclasses.replace(checkpoint.learner, critic=critic),
    )


def _beside_action(layer: layers.Standardize, policy: Policy) -> layers.Standardize:
    """The same for an observation with an action behind it, which stays as it is."""
    assert isinstance(policy.action_space, spaces.Box)
    n, k = spaces.input_shape(policy.observation_space)[0], policy.action_space.size
    parts = ((layer.mean, 0), (layer.scale, 1), (layer.clip, np.inf))
    arrays = (np.concatenate([np.broadcast_to(array, n), np.full(k, rest)]).astype(np.float32) for array, rest in parts)
    return layers.Standardize(*arrays)


def _with_side(checkpoint: Checkpoint, beside: _Beside, source: Provenance, *, given: bool) -> Checkpoint:
    """The same with what its file and the folder say of where it came from."""
    read, side = checkpoint.provenance, beside.side
    guesses = [guess for guess in read.guesses if not (given and guess.startswith("observation statistics"))]
    wrappers = read.wrappers
    if beside.worn is None and side.wrappers is not None:
        transpose = tuple(wrapper for wrapper in read.wrappers if wrapper not in side.wrappers)
        wrappers = side.wrappers + transpose
        if any(isinstance(wrapper, Atari) for wrapper in parse_wrappers(side.wrappers)):
            guesses = [guess for guess in guesses if guess != CHANNELS_UNSAID]  # an Atari game's are last
    return _told(
        checkpoint,
        source=source.source,
        source_sha256=source.source_sha256,
        environment=printable(side.environment),
        wrappers=wrappers,
        guesses=tuple(printable(guess) for guess in (*guesses, *beside.notes)),
    )
