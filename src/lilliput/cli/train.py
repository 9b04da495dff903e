"""`lilliput train`: reinforcement learning, with compression inside where it is asked for."""

import json
from pathlib import Path
from typing import Any

import click

from lilliput.cli import duration, option, progress
from lilliput.errors import LilliputError
from lilliput.policies import learn
from lilliput.policies.learn.rl.algorithm import ALGORITHMS
from lilliput.policies.learn.rl.algorithm import algorithm as algorithm_named


class _Setting(click.ParamType):
    name = "name=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        key, equals, text = str(value).partition("=")
        try:
            found = json.loads(text)
        except ValueError:
            found = text
        if not equals or not key:
            self.fail(f"{value!r} is no setting; write learning_rate=3e-4", param, ctx)
        return key, found


class _Units(click.ParamType):
    name = "units"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        try:
            return tuple(int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is no list of units; write 64,64", param, ctx)


@click.command()
@click.option("--algo", "algorithm", required=True, type=click.Choice(list(ALGORITHMS)), help="What learns.")
@click.option("--env", "environment", required=True, help="The Gymnasium id, such as HalfCheetah-v4.")
@option.environment_kwargs
@click.option("--wrapper", "wrappers", multiple=True, help="What stands before it, such as 'atari' 'frame_stack(4)'.")
@click.option("--steps", required=True, type=click.IntRange(min=1), help="Steps of the environment.")
@option.seed
@click.option("--hidden", type=_Units(), help="Units of the hidden layers of what decides, such as 16,16.")
@click.option("--activation", help="Of the hidden layers: relu, tanh, elu, silu, gelu.")
@click.option("--normalize/--no-normalize", default=None, help="Scale observations by running statistics.")
@click.option("--set", "settings", multiple=True, type=_Setting(), help="A setting in the place of the tuned one.")
@click.option("--weight-bits", type=click.IntRange(2, 8), help="Learn with weights of so many bits.")
@click.option("--activation-bits", type=click.IntRange(2, 8), help="And with inputs of layers of so many bits.")
@click.option("--input-bits", type=click.IntRange(2, 8), help="And with observations of so many bits.")
@click.option("--quantize-from", default=0.0, show_default=True, help="Share of the steps before that begins.")
@click.option(
    "--sparsity", type=click.FloatRange(0, 1, min_open=True, max_open=True), help="Weights to be 0 at the end."
)
@click.option("--prune-from", default=0.2, show_default=True, help="Share of the steps before pruning begins.")
@click.option("--prune-to", default=0.8, show_default=True, help="Share of the steps after which it is done.")
@click.option(
    "--distribution",
    default="uniform",
    show_default=True,
    type=click.Choice(["uniform", "erdos_renyi", "global"]),
    help="How sparsity spreads over layers.",
)
@click.option(
    "--prune-method",
    default="gradual",
    show_default=True,
    type=click.Choice(["gradual", "set", "rigl"]),
    help="Cut more and more weights, or train sparse from the start and move the least weights: anywhere (SET), or "
    "where the gradient is largest (RigL).",
)
@click.option("--units", is_flag=True, help="Prune whole hidden units instead of weights.")
@click.option(
    "--resume-from",
    "start_from",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A zip of the same algorithm whose policy goes on learning.",
)
@click.option(
    "--segment", default=10_000, show_default=True, type=click.IntRange(min=1), help="Steps between checkpoints."
)
@click.option("--episodes", default=5, show_default=True, type=click.IntRange(min=1), help="Played at each checkpoint.")
@click.option("--within", type=duration.Duration(), help="Stop at the checkpoint after this time: 90s, 10m, 1h.")
@option.out
@option.force
@option.as_json
def train(
    environment_kwargs: str,
    settings: tuple[tuple[str, Any], ...],
    weight_bits: int | None,
    activation_bits: int | None,
    input_bits: int | None,
    quantize_from: float,
    sparsity: float | None,
    prune_from: float,
    prune_to: float,
    distribution: Any,
    prune_method: Any,
    units: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Train a policy by reinforcement learning, with the tuned hyperparameters of RL Baselines3 Zoo.

    OUT then holds policy.lilliput, model.zip for Stable-Baselines3, and the curve of its evaluations. The same command
    goes on where it was interrupted, to the bit. Needs the extra `train`.

    \b
    Examples:
      lilliput train --algo ppo --env CartPole-v1 --steps 20000 -o cartpole/
      lilliput train --algo sac --env HalfCheetah-v4 --steps 1000000 \\
        --hidden 16,16 --weight-bits 4 --activation-bits 4 --input-bits 8 \\
        -o small/
    """
    algorithm_named(given["algorithm"]).load()  # says what is missing before anything of it is imported
    from lilliput.policies.learn.rl.training import Pruning, Quantization
    from lilliput.report import training as page
    from lilliput.report.vocabulary import count
    from lilliput.study.environment import keyword_arguments
    from lilliput.sums import mean

    if weight_bits is None and (activation_bits, input_bits) != (None, None):
        raise LilliputError("--activation-bits and --input-bits need --weight-bits")
    quantization = None
    if weight_bits is not None:
        quantization = Quantization(weight_bits, activation_bits, input_bits, quantize_from)
    pruning = None if sparsity is None else Pruning(sparsity, prune_from, prune_to, distribution, units, prune_method)
    out: Path = given["out"]
    with progress.shown(quiet=as_json) as report:
        trained = learn.train(
            **given,
            environment_kwargs=keyword_arguments(environment_kwargs),
            settings=dict(settings),
            quantization=quantization,
            pruning=pruning,
            progress=report,
        )
    curve = [(one.step, one.returns) for one in trained.evaluations]
    written = page.write(out, f"{given['algorithm']} on {given['environment']}", curve, trained.notes)
    last = trained.evaluations[-1].returns
    if as_json:
        found = {
            "policy": str(out / "policy.lilliput"),
            "steps": trained.steps,
            "done": trained.steps >= given["steps"],
            "bytes": trained.policy.model_bytes,
            "evaluations": [{"step": step, "returns": list(returns)} for step, returns in curve],
            "notes": list(trained.notes),
        }
        click.echo(json.dumps(found))
        return
    for note in trained.notes:
        click.echo(note, err=True)
    if trained.steps < given["steps"]:
        click.echo(f"stopped after {trained.steps:,} of {given['steps']:,} steps; the same command goes on", err=True)
    click.echo(f"{out / 'policy.lilliput'}: {trained.policy.model_bytes:,} model bytes, {trained.steps:,} steps")
    click.echo(f"return {mean(last):,.1f}, mean of {count(len(last), 'episodes')}; judge it with lilliput compare")
    if written:
        click.echo(", ".join(str(path) for path in written))
