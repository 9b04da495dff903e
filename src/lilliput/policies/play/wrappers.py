"""The closed list of what an environment does to observations and actions on the way, as text: "frame_stack(4)"."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

from lilliput import recipe
from lilliput.errors import LilliputError, closest


@final
@dataclass(frozen=True)
class TimeFeature:
    """Appends the time left, 1 at the start and 0 at the limit, to the observation (sb3_contrib's TimeFeatureWrapper).

    The environment's own step limit counts; `max_steps` where it has none. `test_mode`: always 1.
    """

    max_steps: int = 1000
    test_mode: bool = False


@final
@dataclass(frozen=True)
class FrameStack:
    """The last `n_stack` observations side by side, zeros before the first (Stable-Baselines3's VecFrameStack)."""

    n_stack: int = 4


@final
@dataclass(frozen=True)
class Atari:
    """Stable-Baselines3's AtariWrapper, played for the game's own score: rewards unclipped, an episode is a whole game.

    With `terminal_on_life_loss`, what follows a lost life (a no-op, fire where the game needs it) happens by itself.
    """

    noop_max: int = 30
    frame_skip: int = 4
    screen_size: int = 84
    terminal_on_life_loss: bool = True


@final
@dataclass(frozen=True)
class TransposeImage:
    """Height, width, channels to channels, height, width, where Stable-Baselines3 would (VecTransposeImage).

    Images whose channels are first already stay as they are; see `channels_first`.
    """


@final
@dataclass(frozen=True)
class OneHot:
    """Choices (Discrete, MultiDiscrete) as numbers: one for each possibility, 1 for what it is, else 0.

    As Stable-Baselines3 shows them to its networks, and Gymnasium's FlattenObservation; of a Dict the keys that are
    choices.
    """


@final
@dataclass(frozen=True)
class ClipAction:
    """Clips actions to the bounds of the environment, as CleanRL's scripts have it do: their files hold no bounds.

    The environment keeps its bounded action space, so that random actions stay inside.
    """


@final
@dataclass(frozen=True)
class ZeroContactForces:
    """The observation as policies of Ant-v2 and -v3 and of Humanoid-v2 and -v3 saw it: its last 84 numbers are 0.

    They are the contact forces, which mujoco_py with MuJoCo 2 left at 0. Ant's 27 numbers (-v4) or the first 27 of its
    105 (-v5) become 111; of Humanoid's and HumanoidStandup's 376 (-v4) the last 84 are set to 0. Some policies of
    Humanoid were trained with forces and fall without: try both.
    """


@final
@dataclass(frozen=True)
class RescaleAction:
    """Moves actions from [low, high] to the bounds of the environment (Gymnasium's RescaleAction)."""

    low: float = -1.0
    high: float = 1.0


Wrapper = TimeFeature | FrameStack | Atari | TransposeImage | OneHot | ClipAction | RescaleAction | ZeroContactForces

WRAPPERS: dict[str, type[Wrapper]] = {
    "time_feature": TimeFeature,
    "frame_stack": FrameStack,
    "atari": Atari,
    "transpose_image": TransposeImage,
    "one_hot": OneHot,
    "clip_action": ClipAction,
    "rescale_action": RescaleAction,
    "zero_contact_forces": ZeroContactForces,
}

_LEAST = {"max_steps": 1, "n_stack": 1, "noop_max": 0, "frame_skip": 1, "screen_size": 1}


def channels_first(shape: tuple[int, ...]) -> bool:
    """Whether Stable-Baselines3 takes an image's first axis for the channels: the first of its smallest axes.

    >>> channels_first((4, 84, 84)), channels_first((84, 84, 4)), channels_first((6, 6, 6))
    (True, False, True)
    """
    return shape.index(min(shape)) == 0


def parse_wrappers(texts: Iterable[str]) -> tuple[Wrapper, ...]:
    """The wrappers that the texts name, the innermost first.

    >>> parse_wrappers(["time_feature(max_steps=200)", "frame_stack(4)"])
    (TimeFeature(max_steps=200, test_mode=False), FrameStack(n_stack=4))

    Raises:
        LilliputError: a text that is no call, an unknown name or an argument of another type.
    """
    if isinstance(texts, str):
        raise LilliputError(f"wrappers are a list of texts; {texts!r} is one text: write [{texts!r}]")
    return tuple(_parse(text) for text in texts)


def format_wrapper(wrapper: Wrapper) -> str:
    """The shortest text that `parse_wrappers` reads back.

    >>> format_wrapper(TimeFeature()), format_wrapper(FrameStack(2))
    ('time_feature', 'frame_stack(n_stack=2)')
    """
    (name,) = (name for name, kind in WRAPPERS.items() if kind is type(wrapper))
    call = recipe.call_of(name, wrapper)
    return recipe.format_calls([dataclasses.replace(call, bare=not call.named)])


def _parse(text: str) -> Wrapper:
    try:
        (call,) = recipe.parse(text)
    except (LilliputError, ValueError):
        raise LilliputError(
            f"wrapper {text[:60]!r} cannot be read; write a name with plain arguments, such as frame_stack(4)"
        ) from None
    if call.name not in WRAPPERS:
        near = closest(call.name, WRAPPERS)
        raise LilliputError(f"wrapper {text[:60]!r} is not known; {near}allowed: {', '.join(WRAPPERS)}")
    kind = WRAPPERS[call.name]
    fields = recipe.fields_of(kind)
    arguments = recipe.arguments_of(call, fields)
    for key, value in arguments.items():
        expected = type(fields[key].default)
        if type(value) is not expected:
            raise LilliputError(f"wrapper {call.name}: {key} is {value!r}; it must be of type {expected.__name__}")
        if key in _LEAST and value < _LEAST[key]:
            raise LilliputError(f"wrapper {call.name}: {key} is {value}; it must be at least {_LEAST[key]}")
    return kind(**arguments)
