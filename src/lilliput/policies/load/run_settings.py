"""What the settings of a run, Isaac Lab's `params/agent.yaml` beside a file of weights, say of the network."""

import math
import re
from collections.abc import Iterator
from typing import Any, Final

from lilliput.errors import LilliputError
from lilliput.policies import layers
from lilliput.policies.load.layout import WAY_OUT
from lilliput.policies.load.rl_zoo import read_yaml
from lilliput.policies.load.source import Source
from lilliput.policies.policy import Policy

FILE = "params/agent.yaml"

_RSL_RL: Final = {
    "ActorCritic", "ActorCriticRecurrent", "StudentTeacher", "StudentTeacherRecurrent", "MLPModel", "RNNModel",
    "GaussianDistribution", "BetaDistribution",
}  # fmt: skip
"""rsl_rl's classes of what is read here."""
_READ: Final = {
    "activation", "class_name", "rnn_type", "rnn_hidden_dim", "rnn_hidden_size", "rnn_num_layers", "std_type",
    "action_range",
}  # fmt: skip
"""Settings of rsl_rl's networks that its reader follows, or that the weights tell."""


_OTHERS: Final = {"critic", "teacher", "algorithm"}
_AROUND: Final = re.compile(
    r"(?i)norm|scal|squash|tanh|offset|filter|delay|(?:act|obs)\w*_(?:stack|histor|limit|clip)|clip_?(?:act|obs)"
)
"""In the name of a run's setting outside of its networks that may change what goes in or comes out of them."""


def agent_settings(source: Source) -> dict[str, Any]:
    """The settings of the run that wrote the file, from `params` beside it or beside its folder; empty: there are none.

    Raises:
        LilliputError: they cannot be read.
    """
    places = (source.folder / FILE, source.folder.parent / FILE)
    return read_yaml(next((place for place in places if place.is_file()), places[0]))


def run_settings(policy: Policy, source: Source) -> dict[str, Any]:
    """What the run's settings say of the policy's network, by path; that the network is another one is refused.

    Raises:
        LilliputError: another class, a scaler whose statistics the file does not hold, another output.
    """
    framework = policy.provenance.framework
    if framework not in ("rsl_rl", "skrl", "rl_games"):
        return {}
    try:
        settings = agent_settings(source)
    except LilliputError:  # the policy's contract says so
        return {}
    match framework:
        case "rsl_rl":
            found = _rsl_rl(settings, source)
        case "skrl":
            found = _skrl(settings, policy, source)
        case _:
            found = _rl_games(settings, policy, source)
    return {f"{FILE}: {path}": value for path, value in found.items()}


def _rsl_rl(settings: dict[str, Any], source: Source) -> dict[str, Any]:
    sections = {key: settings[key] for key in ("policy", "actor", "student") if isinstance(settings.get(key), dict)}
    leaves = dict(_leaves(sections, ""))
    for path, value in leaves.items():
        kind = str(value)
        if path.endswith("class_name") and kind not in _RSL_RL and not kind.startswith("rsl_rl."):
            source.options.only_layers(
                source.name, f"{FILE} says that {path} is {kind[:60]!r}, which is not a class of rsl_rl's"
            )
    found = {path: value for path, value in leaves.items() if path.rpartition(".")[2] not in _READ}
    others = {key: value for key, value in settings.items() if key not in _OTHERS and key not in sections}
    return found | {path: value for path, value in _leaves(others, "") if _AROUND.search(path)}


def _skrl(settings: dict[str, Any], policy: Policy, source: Source) -> dict[str, Any]:
    agent, models = (_section(settings, key) for key in ("agent", "models"))
    for key in ("state_preprocessor", "observation_preprocessor"):
        scaler = agent.get(key)
        kept = any(isinstance(layer, layers.Standardize) for layer in policy.layers[:1])
        if scaler not in (None, "", "null", "None", "none") and not kept and not source.options.normalizer:
            raise LilliputError(
                f"{source.name}: {FILE} says that agent.{key} is {str(scaler)[:60]!r}, whose statistics are not in the "
                "file: give the agent's whole checkpoint, or the statistics as --normalizer FILE, or --no-normalizer"
            )
    found: dict[str, Any] = {}
    for path, value in _leaves(_section(models, "policy"), "models.policy"):
        key = path.rpartition(".")[2]
        if key == "output":
            _check_output(path, str(value), source)
        elif key in ("activations", "hidden_activation"):
            texts = value if isinstance(value, list) else [value]
            found |= {f"{path}.{number}.activation": text for number, text in enumerate(texts) if text}
        elif key == "input" and not re.fullmatch(r"(?i)observations|states", str(value)):
            found["models.policy.network_input"] = value
        elif key not in ("input", "name", "class", "layers", "hiddens") and "log_std" not in key:
            found[path] = value
    return found


def _check_output(path: str, output: str, source: Source) -> None:
    """Check that skrl's expression of the output is what the options say.

    Raises:
        LilliputError: it is another one.
    """
    plain = output.upper() in ("ACTIONS", "NONE", "")
    action = source.options.action
    if (plain and action in (None, "continuous")) or (output == "tanh(ACTIONS)" and action == "tanh"):
        return
    if output == "tanh(ACTIONS)" and action is None:
        way = "give --action tanh with the bounds, --action-low -1 and --action-high 1 for the tanh itself"
    elif action is not None and output in ("tanh(ACTIONS)", "ACTIONS"):
        way = "leave --action away" if plain else "give --action tanh"
    else:
        way = WAY_OUT
    raise LilliputError(f"{source.name}: {FILE} says that {path} is {output[:60]!r}; {way}")


def _rl_games(settings: dict[str, Any], policy: Policy, source: Source) -> dict[str, Any]:
    params = _section(settings, "params")
    network, config = _section(params, "network"), _section(params, "config")
    kept = {"mlp": network.get("mlp"), "space": network.get("space"), "normalization": network.get("normalization")}
    found = {
        path: value
        for path, value in _leaves(kept, "network")
        if not re.search(r"initializer|_init\b|regularizer|units|sigma", path)
    }
    if not config.get("clip_actions", True) and any(isinstance(layer, layers.HardTanh) for layer in policy.layers[-2:]):
        raise LilliputError(
            f"{source.name}: {FILE} says that config.clip_actions is false; give --action-low -inf and --action-high "
            "inf: its outputs are the action as they are"
        )
    around = {f"env.{key}": value for key, value in _section(params, "env").items() if _AROUND.search(key)}
    around = {
        path: value
        for path, value in around.items()
        if not (isinstance(value, int | float) and math.isinf(value))
        and not (path == "env.clip_actions" and config.get("clip_actions", True) and value == 1)
    }
    return found | around | {f"config.{key}": config[key] for key in ("normalize_input",) if key in config}


def _section(settings: dict[str, Any], key: str) -> dict[str, Any]:
    found = settings.get(key)
    return found if isinstance(found, dict) else {}


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """What is no container of settings, by path."""
    match value:
        case dict():
            for key, item in value.items():
                yield from _leaves(item, f"{path}.{key}".lstrip("."))
        case [dict(), *_]:
            for item in value:
                yield from _leaves(item, path)
        case _:
            yield path, value
