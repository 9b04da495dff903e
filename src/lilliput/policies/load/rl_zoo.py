"""An rl-zoo folder, as training or its hub lays it out: the zip, config.yml, args.yml, env_kwargs.yml, statistics."""

import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

from lilliput.errors import LilliputError
from lilliput.foreign_text import printable
from lilliput.policies.artifact import MANIFEST
from lilliput.policies.load.inert_pickle import MAX_BITS
from lilliput.policies.play.wrappers import (
    WRAPPERS,
    Atari,
    FrameStack,
    RescaleAction,
    TimeFeature,
    Wrapper,
    format_wrapper,
)

MAX_YAML_BYTES = 256 << 10
MAX_NODES = 10_000
MAX_DEPTH = 20

_ORDERED_DICT = "tag:yaml.org,2002:python/object/apply:collections.OrderedDict"
_METRICS = "train_eval_metrics.zip"
"""Beside a policy of the hub: what its training measured."""
_STATISTICS = ("vecnormalize.pkl", "vec_normalize.pkl")

_RUN = re.compile(r"(.+)_\d+")

_TIME_FEATURE = (
    "sb3_contrib.common.wrappers.TimeFeatureWrapper",
    "sb3_contrib.common.wrappers.time_feature.TimeFeatureWrapper",
    "utils.wrappers.TimeFeatureWrapper",
    "rl_zoo3.wrappers.TimeFeatureWrapper",
)
_ATARI = ("stable_baselines3.common.atari_wrappers.AtariWrapper",)
_RESCALE = (
    "gym.wrappers.RescaleAction",
    "gym.wrappers.rescale_action.RescaleAction",
    "gymnasium.wrappers.RescaleAction",
    "gymnasium.wrappers.rescale_action.RescaleAction",
)
_NO_EFFECT = ("stable_baselines3.common.monitor.Monitor",)
_ATARI_REWARD_ONLY = ("clip_reward",)


@final
@dataclass(frozen=True)
class Side:
    """What stands beside a zip.

    Attributes:
        environment: the id it was trained on; algorithm: as args.yml spells it; both empty where it does not say.
        wrappers: texts of the closed list of `play.wrappers`, the innermost first; None where no config.yml is.
        normalizer: the file of the observation statistics, where config.yml says that there is one, and it is there.
        normalized: what config.yml says of it; None: there is no config.yml.
        folders: where observation statistics may stand besides the zip's own folder.
        notes: what a reader of the policy should know, a sentence each.
    """

    environment: str = ""
    algorithm: str = ""
    wrappers: tuple[str, ...] | None = None
    normalizer: Path | None = None
    normalized: Literal["observations", "rewards", "nothing"] | None = None
    folders: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


def zip_of_folder(folder: Path) -> Path:
    """The zip of an rl-zoo folder, of the run's (`<Env>_1/`) or of the one inside it (`<Env>_1/<Env>/`).

    Raises:
        LilliputError: no zip or several there; what is there instead is named.
    """
    inner = folder.parent / f"{folder.name}.zip"
    if inner.is_file() and ((folder / "config.yml").is_file() or not any(folder.glob("*.zip"))):
        return inner
    zips = sorted(path for path in folder.glob("*.zip") if path.name != _METRICS)
    run = _RUN.fullmatch(folder.name)
    named = [path for path in zips if run and path.stem == run.group(1)] or [
        path for path in zips if (folder / path.stem).is_dir()
    ]
    if len(named) == 1:
        return named[0]
    if len(zips) == 1:
        return zips[0]
    if (folder / MANIFEST).is_file():
        raise LilliputError(
            f"folder {folder.name!r} is an exported artifact, which `lilliput check` and `lilliput measure` read; give "
            "the checkpoint or the .lilliput file that it was exported from"
        )
    if not zips:
        there = sorted(printable(path.name) for path in itertools.islice(folder.iterdir(), 1000))
        what = f"{', '.join(there[:4])}{', ...' if len(there) > 4 else ''}" if there else "nothing"
        raise LilliputError(f"folder {folder.name!r} holds no zip of a policy, but {what}; give the path of a file")
    found = ", ".join(path.name for path in zips[:4])
    raise LilliputError(f"folder {folder.name!r} holds {len(zips)} zip files ({found}); give the path of one")


def side_of_zip(path: Path) -> Side:
    """What stands beside the zip in rl-zoo's layouts: `Env.zip` and `Env/`, or on the hub all in one folder.

    Raises:
        LilliputError: a configuration file that cannot be read, or one that names a wrapper outside of the closed list.
    """
    run = _RUN.fullmatch(path.parent.name)
    folders = [path.parent / path.stem] + ([path.parent / run.group(1)] if run else [])
    folder = next((f for f in folders if any((f / name).is_file() for name in ("config.yml", *_STATISTICS))), None)
    if folder is None:
        if not all((path.parent / name).is_file() for name in ("config.yml", "args.yml")):
            return Side()
        folder = path.parent
    config = read_yaml(folder / "config.yml")
    arguments = read_yaml(folder / "args.yml")
    environment_arguments = read_yaml(folder / "env_kwargs.yml")
    statistics = next((folder / name for name in _STATISTICS if (folder / name).is_file()), None)
    normalized = _normalized(config.get("normalize"), config.get("normalize_kwargs")) if config else None
    return Side(
        environment=_text(arguments.get("env")),
        algorithm=_text(arguments.get("algo")),
        wrappers=_wrappers(config, (folder / "config.yml").name) if config else None,
        normalizer=statistics if normalized == "observations" else None,
        normalized=normalized,
        folders=(folder,),
        notes=(f"the environment was made with the arguments {str(environment_arguments)[:200]}",)
        if environment_arguments
        else (),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _normalized(value: Any, arguments: Any) -> Literal["observations", "rewards", "nothing"]:
    """What is normalized: observations too for true, or for the text of a dict, unless that says norm_obs=False."""
    if value in (None, False, ""):
        return "nothing"
    text = f"{value} {arguments}".replace(" ", "").replace("'", "").replace('"', "")
    return "rewards" if "norm_obs=False" in text or "norm_obs:False" in text else "observations"


def _wrappers(config: dict[str, Any], name: str) -> tuple[str, ...]:
    found: list[Wrapper] = []
    for kind, arguments in _named(config.get("env_wrapper"), name):
        found += _known(kind, arguments, name)
    for kind, _ in _named(config.get("vec_env_wrapper"), name):
        raise _unknown(kind, name)
    stack = config.get("frame_stack")
    if stack is not None:
        if not isinstance(stack, int) or stack < 1:
            raise LilliputError(f"{name}: frame_stack is {str(stack)[:40]!r}; it must be a whole number from 1")
        found.append(FrameStack(int(stack)))
    return tuple(format_wrapper(wrapper) for wrapper in found)


def _named(value: Any, name: str) -> list[tuple[str, dict[str, Any]]]:
    """Wrappers as rl-zoo spells them: a name, a list of names, or names with their arguments."""
    match value:
        case None:
            return []
        case str():
            return [(value, {})]
        case dict():
            return [(str(kind), arguments if isinstance(arguments, dict) else {}) for kind, arguments in value.items()]
        case list():
            return [pair for item in value for pair in _named(item, name)]
        case _:
            raise LilliputError(f"{name}: env_wrapper is {str(value)[:40]!r}; it must be a name or a list of names")


def _known(kind: str, arguments: dict[str, Any], name: str) -> list[Wrapper]:
    if kind in _NO_EFFECT:
        return []
    if kind in _TIME_FEATURE:
        return [_build(TimeFeature, kind, arguments, name)]
    if kind in _ATARI:
        if arguments.get("action_repeat_probability", 0):
            raise LilliputError(f"{name}: {kind} has action_repeat_probability; supported: 0")
        ignored = (*_ATARI_REWARD_ONLY, "action_repeat_probability")
        return [_build(Atari, kind, {key: value for key, value in arguments.items() if key not in ignored}, name)]
    if kind in _RESCALE:
        bounds = {"min_action": "low", "max_action": "high"}
        return [_build(RescaleAction, kind, {bounds.get(k, k): _real(v) for k, v in arguments.items()}, name)]
    raise _unknown(kind, name)


def _real(value: Any) -> Any:
    """A whole number as a real one: YAML writes -1 for -1.0."""
    return float(value) if type(value) is int else value


def _build(wrapper: type[Wrapper], kind: str, arguments: dict[str, Any], name: str) -> Wrapper:
    allowed = wrapper.__dataclass_fields__
    for key, value in arguments.items():
        if key not in allowed or type(value) is not type(allowed[key].default):
            raise LilliputError(
                f"{name}: {kind} has the argument {key[:40]}={str(value)[:40]}; supported: {', '.join(allowed)}"
            )
    return wrapper(**arguments)


def _unknown(kind: str, name: str) -> LilliputError:
    return LilliputError(
        f"{name}: the environment wrapper {kind[:100]!r} is not supported; known: "
        f"{', '.join((*_TIME_FEATURE[:1], *_ATARI, *_RESCALE[2:3]))} "
        f"(as {', '.join(WRAPPERS)}); give the zip alone and name the wrappers yourself"
    )


def read_yaml(path: Path) -> dict[str, Any]:
    """The file as plain data; empty where there is none.

    Raises:
        LilliputError: it is no mapping, or says anything that a plain configuration does not.
    """
    import yaml

    if not path.is_file():
        return {}
    if path.stat().st_size > MAX_YAML_BYTES:
        raise LilliputError(f"{path.name} has {path.stat().st_size} bytes; at most {MAX_YAML_BYTES} are read")
    try:
        # Nodes only: no constructor runs, so no tag can make anything.
        node = yaml.compose(path.read_bytes(), Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise LilliputError(f"{path.name} is not readable YAML; restore it or remove it") from error
    value = {} if node is None else _Plain(path.name).convert(node, 0)
    if not isinstance(value, dict):
        raise LilliputError(f"{path.name} holds no settings by name; restore it or remove it")
    return value


@final
class _Plain:
    """YAML nodes as plain data."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes = 0

    def convert(self, node: Any, depth: int) -> Any:
        import yaml

        self.nodes += 1
        if depth > MAX_DEPTH or self.nodes > MAX_NODES:
            raise LilliputError(f"{self.name} is nested deeper or wider than any configuration of rl-zoo")
        match node:
            case yaml.ScalarNode():
                return _scalar(node.tag.rpartition(":")[2], node.value)
            case yaml.SequenceNode(tag=tag, value=[yaml.SequenceNode(value=pairs)]) if tag == _ORDERED_DICT:
                converted = [self.convert(pair, depth + 1) for pair in pairs]
                return {str(pair[0]): pair[1] for pair in converted if isinstance(pair, list) and len(pair) == 2}
            case yaml.SequenceNode():
                return [self.convert(item, depth + 1) for item in node.value]
            case yaml.MappingNode():
                every = [[self.convert(part, depth + 1) for part in pair] for pair in node.value]
                whole = {str(key): value for key, value in every}
                if len(whole) < len(every):  # PyYAML takes the last, other readers the first
                    raise LilliputError(f"{self.name} says a setting of one name twice; leave one of them")
                return whole
            case _:
                return None


def _scalar(kind: str, text: str) -> Any:
    try:
        match kind:
            case "null":
                return None
            case "bool":
                return text.lower() in ("true", "yes", "on", "y")
            case "int":
                number = int(text.replace("_", ""), 0)
                return number if number.bit_length() <= MAX_BITS else text
            case "float":
                return float(re.sub(r"\.(?=inf|nan)", "", text.lower()).replace("_", ""))  # YAML's .inf
            case _:
                return text
    except ValueError:
        return text
