"""Gymnasium environments by id: made with their wrappers, or an error that says what to write or install instead."""

import contextlib
import difflib
import importlib
import importlib.metadata
import importlib.util
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

import numpy as np

from lilliput.errors import LilliputError, MissingDependency
from lilliput.policies import spaces
from lilliput.policies.play.failure import RAISED, failure
from lilliput.policies.play.wrappers import parse_wrappers
from lilliput.task import Task

if TYPE_CHECKING:
    import gymnasium
    from gymnasium.envs.registration import EnvSpec

MAX_STEPS = 100_000
"""An episode is cut after so many steps, on top of the environment's own limit: some environments never end."""

_PLUGINS = (
    ("ALE/", "ale_py", "'lilliput[atari]'"),
    ("NoFrameskip", "ale_py", "'lilliput[atari]'"),
    ("Panda", "panda_gym", "panda-gym"),
    ("Fetch", "gymnasium_robotics", "gymnasium-robotics"),
    ("Hand", "gymnasium_robotics", "gymnasium-robotics"),
    ("Adroit", "gymnasium_robotics", "gymnasium-robotics"),
    ("Franka", "gymnasium_robotics", "gymnasium-robotics"),
    ("Maze", "gymnasium_robotics", "gymnasium-robotics"),
)
"""Part of an id, the module that registers such ids, what to install."""

_EXTRAS = {
    "gymnasium.envs.mujoco": "'lilliput[mujoco]'",
    "gymnasium.envs.box2d": "'lilliput[box2d]'",
    "gymnasium.envs.classic_control": "'gymnasium[classic-control]'",
    "gymnasium.envs.toy_text": "'gymnasium[toy-text]'",
}


_INDEPENDENT = ("gymnasium.envs.mujoco.", "gymnasium.envs.classic_control.", "gymnasium.envs.toy_text.")
"""Where `reset(seed=...)` is known to forget what was played before. Box2D keeps its world: on BipedalWalker a reused
environment repeats only half of its episodes."""

_ID = re.compile(r"^(?:[\w.]+:)?(?:[\w-]+/)?(?P<name>[\w:.-]+?)-v(?P<version>\d+)$")


@final
@dataclass(frozen=True)
class EnvironmentSpec:
    """What to make an environment from; it can be sent to another process.

    A `Task` says the same in text that records and digests hold; here arguments may be what JSON cannot hold.

    Attributes:
        id: as Gymnasium registers it.
        wrappers: texts from the closed list, the innermost first.
        kwargs: arguments of the environment itself.
        max_steps: after which an episode is cut, whatever the environment's own limit; None: `MAX_STEPS`, which
            is kept as None.
    """

    id: str
    wrappers: tuple[str, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    max_steps: int | None = None

    def __post_init__(self) -> None:
        if self.max_steps is not None and self.max_steps < 1:
            raise LilliputError(f"max_steps is {self.max_steps}; it must be at least 1")
        if self.max_steps == MAX_STEPS:
            # Randomness is drawn from what is asked: the usual has one spelling.
            object.__setattr__(self, "max_steps", None)

    @staticmethod
    def of(task: Task, max_steps: int | None) -> "EnvironmentSpec":
        """Of a task that is played."""
        return EnvironmentSpec(task.id, task.wrappers, task.kwargs, max_steps)

    def make(self) -> "gymnasium.Env":
        """A fresh environment with its wrappers; see `make_environment`."""
        return make_environment(self.id, wrappers=self.wrappers, environment_kwargs=self.kwargs)

    @property
    def resets_cleanly(self) -> bool:
        """Whether a reset is known to make an episode independent of those before it."""
        entry_point = entry_point_of(self.id)
        return isinstance(entry_point, str) and entry_point.startswith(_INDEPENDENT) and "atari" not in self.wrappers


def entry_point_of(environment: str) -> Any:
    """What Gymnasium makes environments of that id with, as "module:class" or callable; None where it knows none."""
    found = _registered(environment)
    return found.entry_point if found is not None else None


def make_environment(
    environment: str, *, wrappers: tuple[str, ...] = (), environment_kwargs: Mapping[str, Any] | None = None
) -> "gymnasium.Env":
    """A fresh environment behind its wrappers, without Gymnasium's checker.

    Raises:
        LilliputError: an unknown or outdated id, arguments that it does not take, a wrapper that does not fit.
        MissingDependency: the package that the environment needs is not installed.
    """
    import gymnasium
    from gymnasium.error import DependencyNotInstalled

    from lilliput.policies.play.gymnasium_wrappers import wrap

    parsed = parse_wrappers(wrappers)
    spec = _spec(environment)
    kwargs = dict(environment_kwargs or {})
    try:
        with _quiet(spec):
            made: gymnasium.Env = gymnasium.make(spec, disable_env_checker=True, **kwargs)
    except (DependencyNotInstalled, ImportError) as error:
        raise MissingDependency(_not_installed(environment, spec, error)) from error
    except TypeError as error:
        # An unknown argument, in Gymnasium's words, which end with all arguments there are.
        reason = str(error).split(" was raised from")[0]
        raise LilliputError(f"{environment} cannot be made with {kwargs}: {' '.join(reason.split())}") from error
    except LilliputError:
        raise
    except RAISED as error:
        raise failure(environment, "cannot be made", error, spec.entry_point) from error
    for wrapper in parsed:
        made = wrap(made, wrapper)
    return made


def successor(environment: str) -> str | None:
    """The next version that runs of an id that does not run any more; None where it runs or nothing is known.

    Never used silently: another version can be another task (Ant-v4 feels contact forces that Ant-v3 did not).
    """
    found = _registered(environment)
    if found is not None and not _gone(found):
        return None
    match = _ID.match(environment)
    if match is None:
        return None
    later = [version for version in _versions(environment) if version > int(match["version"])]
    return f"{environment[: match.start('version')]}{min(later)}" if later else None


def observation_space_of(environment: "gymnasium.Env") -> spaces.ObservationSpace:
    """The environment's observation space as plain data.

    Raises:
        LilliputError: a space that no policy here takes.
    """
    from gymnasium.spaces import Dict

    space = environment.observation_space
    if isinstance(space, Dict):
        return spaces.Dict(tuple((key, _seen(part, environment)) for key, part in space.spaces.items()))
    return _seen(space, environment)


def action_space_of(environment: "gymnasium.Env") -> spaces.ActionSpace:
    """The environment's action space as plain data.

    Raises:
        LilliputError: a space that no policy here answers.
    """
    from gymnasium.spaces import Discrete, MultiDiscrete

    space = environment.action_space
    if isinstance(space, Discrete) and space.start == 0:
        return spaces.Discrete(int(space.n))
    if isinstance(space, MultiDiscrete) and space.nvec.ndim == 1 and not space.start.any():
        return spaces.MultiDiscrete(tuple(int(n) for n in space.nvec))
    return _box(space, environment)


def _seen(space: Any, environment: "gymnasium.Env") -> spaces.Box:
    """An observation, or one key of it."""
    from gymnasium.spaces import Discrete, MultiBinary, MultiDiscrete

    if isinstance(space, MultiBinary):
        return spaces.Box(space.shape, np.array(0.0), np.array(1.0), str(space.dtype))
    if isinstance(space, Discrete | MultiDiscrete):
        raise LilliputError(
            f"{_name_of(environment)} has the space {space}; a policy takes numbers: --wrapper one_hot shows it as "
            "such, as Stable-Baselines3 does to its networks"
        )
    return _box(space, environment)


def _box(space: Any, environment: "gymnasium.Env") -> spaces.Box:
    from gymnasium.spaces import Box

    if not isinstance(space, Box):
        raise LilliputError(
            f"{_name_of(environment)} has the space {space}; supported: Box, as observation also MultiBinary and a "
            "Dict of Box, as action also Discrete and MultiDiscrete counted from 0"
        )
    return spaces.Box(space.shape, space.low, space.high, str(space.dtype))


def _name_of(environment: "gymnasium.Env") -> str:
    return environment.spec.id if environment.spec is not None else str(environment)


def _spec(environment: str) -> "EnvSpec":
    """The registered spec of an id that runs."""
    found = _registered(environment)
    if found is not None and not _gone(found):
        return found
    match = _ID.match(environment)
    if match is None:
        raise LilliputError(
            f"{environment!r} is no environment id; ids look like HalfCheetah-v4, ALE/Pong-v5 or, of what "
            "my_module.py registers, my_module:Mine-v0"
        )
    for part, module, package in _PLUGINS:
        if part in environment and importlib.util.find_spec(module) is None:
            raise MissingDependency(f"{environment} needs {module}, which is not installed: pip install {package}")
    why = " (needs mujoco_py)" if found is not None else ""
    instead = successor(environment)
    if instead is not None:
        raise LilliputError(f"{environment} is not registered{why}; use {instead}")
    versions = _versions(environment)
    stem = environment[: match.start("version")]
    if versions:
        raise LilliputError(
            f"{environment} is not registered{why}; there are {', '.join(f'{stem}{v}' for v in versions)}"
        )
    import gymnasium

    names = {spec.id for spec in gymnasium.registry.values() if not _gone(spec)}
    near = difflib.get_close_matches(environment, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else "name an id that gymnasium.registry has"
    module, _, plain = environment.rpartition(":")
    own = f"; {module} has to register it" if module else f"; of your own: module:{plain}, which it registers"
    raise LilliputError(f"{environment} is not registered; {hint}{own}")


def _registered(environment: str) -> "EnvSpec | None":
    """What Gymnasium's registry says of the id, after the import of what registers it."""
    import gymnasium

    module, _, plain = environment.rpartition(":")
    if module:
        if not all(part.isidentifier() for part in module.split(".")):
            raise LilliputError(
                f"{environment}: {module!r} is no module's name; of what my_module.py registers the id is "
                "my_module:Mine-v0, and the file's folder has to be in PYTHONPATH"
            )
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise MissingDependency(
                f"{environment}: there is no module {error.name}; install it, put its folder into PYTHONPATH "
                "or correct the id"
            ) from error
        except RAISED as error:
            raise failure(environment, "cannot be imported", error, f"{module}:") from error
    elif plain not in gymnasium.registry:
        for part, plugin, _ in _PLUGINS:
            if part in plain and importlib.util.find_spec(plugin) is not None:
                gymnasium.register_envs(importlib.import_module(plugin))
        namespace, slash, _ = plain.partition("/")
        if slash and not any(name.startswith(f"{namespace}/") for name in gymnasium.registry):
            _register_by_entry_point(environment, namespace)
    return gymnasium.registry.get(plain)


def _register_by_entry_point(environment: str, namespace: str) -> None:
    """Lets installed packages register a namespace's ids as they did by themselves before Gymnasium 1.0 (MinAtar)."""
    from gymnasium.envs import registration

    for entry in importlib.metadata.entry_points(group="gymnasium.envs", name=namespace):
        raised = None
        with registration.namespace(namespace):  # left only where nothing is raised inside
            try:
                entry.load()()
            except RAISED as error:
                raised = error
        if raised is not None:
            raise failure(environment, "cannot be registered", raised, f"{entry.module}:") from raised


def _versions(environment: str) -> list[int]:
    """The versions of the environment's name that run."""
    import gymnasium

    match = _ID.match(environment)
    stem = environment[environment.rfind(":") + 1 : match.start("version")] if match else ""
    found = [
        int(name[len(stem) :]) for name in gymnasium.registry if stem and re.fullmatch(re.escape(stem) + r"\d+", name)
    ]
    return sorted(version for version in found if not _gone(gymnasium.registry[f"{stem}{version}"]))


def _gone(spec: "EnvSpec") -> bool:
    """Whether Gymnasium only keeps the id to say that it is gone."""
    return callable(spec.entry_point) and spec.entry_point.__module__ == "gymnasium.envs"


def _not_installed(environment: str, spec: "EnvSpec", error: Exception) -> str:
    origin = spec.entry_point if isinstance(spec.entry_point, str) else ""
    for prefix, package in _EXTRAS.items():
        if origin.startswith(prefix):
            return f"{environment} needs packages that are not installed: pip install {package}"
    return f"{environment} cannot be made: {str(error).splitlines()[0]}"


@contextlib.contextmanager
def _quiet(spec: "EnvSpec") -> Iterator[None]:
    """Silences what old versions say about themselves: that a newer one exists, and that their model's XML is old."""
    mujoco: Any = None
    if isinstance(spec.entry_point, str) and spec.entry_point.startswith("gymnasium.envs.mujoco."):
        # Without this, MuJoCo also leaves a MUJOCO_LOG.TXT where the user stands.
        with contextlib.suppress(ImportError):
            mujoco = importlib.import_module("mujoco")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        before = mujoco.get_mju_user_warning() if mujoco is not None else None
        if mujoco is not None:
            mujoco.set_mju_user_warning(lambda _: None)
        try:
            yield
        finally:
            if mujoco is not None:
                mujoco.set_mju_user_warning(before)
