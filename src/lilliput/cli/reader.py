"""What the commands that read a SOURCE share: the options that say what its file does not, and its policy."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from lilliput.cli import model_files, progress
from lilliput.errors import LilliputError
from lilliput.policies.learner import Checkpoint
from lilliput.policies.load import load_checkpoint
from lilliput.policies.policy import Policy


class _Bound(click.ParamType):
    """One number, or one an action with commas between."""

    name = "number[,...]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        try:
            return value if isinstance(value, tuple) else tuple(float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is no number, nor numbers with commas between", param, ctx)


class _Span(click.ParamType):
    """From one number to before another, or where the contract says."""

    name = "from:to"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int] | str:
        if value == "contract":
            return value
        try:
            start, stop = value if isinstance(value, tuple) else map(int, str(value).split(":"))
        except ValueError:
            self.fail(f"{value!r} is not two whole numbers with a colon between, nor 'contract'", param, ctx)
        return start, stop


_READING = {
    "normalizer": click.option(
        "--normalizer",
        type=click.Path(exists=True, path_type=Path),
        help="The observation statistics, where they do not stand beside the source: vecnormalize.pkl, .npz or .json.",
    ),
    "no_normalizer": click.option(
        "--no-normalizer", is_flag=True, help="Observations were not normalized, whatever the source says."
    ),
    "output": click.option(
        "--output", metavar="NAME", help="Which output of an ONNX file is the action, where its name does not tell."
    ),
    "activation": click.option(
        "--activation", metavar="NAME", help="Of the hidden layers, where the source does not say: relu, tanh, elu, ..."
    ),
    "action": click.option(
        "--action",
        type=click.Choice(["discrete", "continuous", "tanh", "beta"]),
        help="How outputs become an action, where the source does not say: the largest of logits or Q-values, as they "
        "are (clipped to the bounds), their tanh, moved to the bounds, or (rsl_rl) a Beta distribution's mean, moved.",
    ),
    "action_low": click.option(
        "--action-low",
        type=_Bound(),
        help="The lower bounds of the action, where the source has none: one number, or one each with commas.",
    ),
    "action_high": click.option("--action-high", type=_Bound(), help="The upper bounds."),
    "plain": click.option(
        "--plain",
        is_flag=True,
        help="The layers in a torch file are all that there is: nothing is added or gated between them, each norm is "
        "torch's LayerNorm, each output an action's.",
    ),
    "contract": click.option(
        "--contract",
        type=click.Choice(["inside"]),
        help="Let the policy do what its contract says (ONNX metadata, a deploy.yaml beside it): scale raw readings, "
        "scale, move and clip actions to joint targets.",
    ),
    "previous_action": click.option(
        "--previous-action",
        type=_Span(),
        metavar="FROM:TO|contract",
        help="Where the policy's own last action stands in the observation, or its last ones, the oldest first: from "
        "which number to before which, counted from 0 (36:48); 'contract': where that says. The policy then remembers "
        "it.",
    ),
    "algorithm": click.option(
        "--algorithm", metavar="NAME", help="What trained it, where the source leaves several: PPO, TRPO, TD3, ..."
    ),
    "wrappers": click.option(
        "--wrapper",
        "wrappers",
        multiple=True,
        callback=lambda _, __, value: value or None,
        help="What the environment does on the way, instead of what the source says, such as 'frame_stack(4)'; may be "
        "repeated, the innermost first.",
    ),
    "rescale_action": click.option(
        "--rescale-action/--no-rescale-action",
        default=None,
        help="Move the source's actions from its bounds to those of the environment (an actor that ends in tanh), or "
        "take them as they are.",
    ),
}
"""Arguments of `load_checkpoint`, by name; `normalizer` is False where `no_normalizer` is."""


def options(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options of how its source is read, which it gets together, as `reading`."""

    @functools.wraps(command)
    def with_reading(**given: Any) -> None:
        reading = {name: given.pop(name) for name in _READING}
        if reading.pop("no_normalizer"):
            if reading["normalizer"] is not None:
                raise click.UsageError("--normalizer and --no-normalizer contradict each other; give one of them")
            reading["normalizer"] = False
        command(reading=reading, **given)

    for one in reversed(_READING.values()):
        with_reading = one(with_reading)
    return with_reading


def read(
    source: Path,
    reading: dict[str, Any],
    environment: str | None,
    environment_kwargs: str,
    *,
    quiet: bool = False,
    named: str = "",
) -> Checkpoint:
    """The policy in the source, and what teaches students of it.

    The environment says the bounds of its action where nothing else does.
    What had to be guessed stands on stderr, a line each, unless `quiet`; behind the name where one is given.
    """
    from lilliput.study.environment import keyword_arguments

    model_files.refuse(source)

    kwargs = keyword_arguments(environment_kwargs)
    try:
        checkpoint = load_checkpoint(source, environment=environment, environment_kwargs=kwargs, **reading)
    except LilliputError as error:
        if not (hint := model_files.hint(source)):
            raise
        raise LilliputError(f"{error}{hint}") from error
    if not quiet:
        progress.say_guesses(checkpoint.provenance.guesses, named)
    return checkpoint


def observations(path: Path | None, policy: Policy) -> np.ndarray | None:
    """The observations in the file, as the policy takes them; None where none is named.

    What was assumed of them stands on stderr.
    """
    from lilliput.policies.load.observations import read_observations

    if path is None:
        return None
    found, notes = read_observations(path, policy.observation_space)
    for note in notes:
        click.echo(f"note: {note}", err=True)
    return found
