"""`lilliput show`: what a checkpoint holds."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np

from lilliput.cli import model_files, option, reader
from lilliput.policies import layers, spaces
from lilliput.policies.affine import QuantizedTensor
from lilliput.policies.constants import constants
from lilliput.policies.learner import Checkpoint, Learner
from lilliput.policies.policy import Policy, layer_shapes


@click.command()
@option.source
@reader.options
@option.environment
@option.environment_kwargs
@model_files.options
@option.as_json
def show(
    source: Path,
    reading: dict[str, Any],
    environment: str | None,
    environment_kwargs: str,
    as_json: bool,
    **told: str | None,
) -> None:
    """Show the policy or the model in SOURCE: spaces, layers, sizes, and what had to be guessed.

    SOURCE is a Stable-Baselines3 zip, an rl-zoo folder, a torch file of CleanRL, rsl_rl, rl_games, skrl, Spinning Up
    and others, a Keras model, an ONNX file or a .lilliput file. Nothing in it is executed.

    \b
    Examples: lilliput show ppo/HalfCheetah-v3_1
              lilliput show resnet.onnx --family classification
    """
    if model_files.is_model(source, told):
        click.echo(model_files.show(source, told, as_json=as_json))
        return
    checkpoint = reader.read(source, reading, environment, environment_kwargs, quiet=not as_json)
    click.echo(json.dumps(summary(checkpoint), indent=1) if as_json else text(checkpoint))


def summary(checkpoint: Checkpoint) -> dict[str, Any]:
    """What `show --json` prints."""
    policy, learner = checkpoint.policy, checkpoint.learner
    shapes = layer_shapes(policy)
    return {
        **asdict(policy.provenance),
        "action_std": learner.action_std,
        "observation_space": spaces.to_json(policy.observation_space),
        "action_space": spaces.to_json(policy.action_space),
        "digest": policy.digest,
        "has_critic": bool(learner.critic),
        "n_parameters": policy.n_parameters,
        "n_nonzero_parameters": policy.n_nonzero_parameters,
        "n_macs": policy.n_macs,
        "unread_inputs": unread_inputs(policy),
        "model_bytes": policy.model_bytes,
        "weight_bits": list(policy.weight_bits),
        "layers": [
            {
                "kind": type(layer).__name__,
                "input_shape": list(before),
                "output_shape": list(after),
                "bytes": _layer_bytes(layer),
            }
            for layer, before, after in zip(policy.layers, shapes, shapes[1:], strict=False)
        ],
    }


def text(checkpoint: Checkpoint) -> str:
    """What `show` prints, under 80 columns wide."""
    policy, origin = checkpoint.policy, checkpoint.provenance
    facts = [
        ("source", origin.source),
        ("algorithm", " ".join(filter(None, (origin.algorithm, f"({origin.framework})" if origin.framework else "")))),
        ("environment", origin.environment),
        ("plays", origin.plays),
        ("wrappers", ", ".join(origin.wrappers)),
        ("recipe", origin.recipe),
        ("learner", ", ".join(_told_by(checkpoint.learner))),
        ("observation", spaces.describe(policy.observation_space)),
        ("action", spaces.describe(policy.action_space)),
        ("not read", _inputs(unread_inputs(policy))),
        ("parameters", f"{policy.n_parameters:,} ({policy.n_nonzero_parameters:,} not zero)"),
        ("model bytes", f"{policy.model_bytes:,}"),
        ("digest", policy.digest[:16]),
    ]
    lines = [f"{name:<12} {value}" for name, value in facts if value]
    lines += [f"{'guessed':<12} {guess}" for guess in origin.guesses]
    shown = [(key, _cut(text, 64 - len(key))) for key, text in origin.contract]
    lines += [f"{'contract':<12} {key}: {text}" for key, text in shown]
    if any(short != text for (_, short), (_, text) in zip(shown, origin.contract, strict=True)):
        lines.append(f"{'':<12} (--json prints all of it)")
    lines += ["", f"{'layer':<16} {'input':>14} {'output':>12} {'weights':>9} {'bytes':>10}"]
    shapes = layer_shapes(policy)
    for layer, before, after in zip(policy.layers, shapes, shapes[1:], strict=False):
        weights = ""
        if isinstance(layer, layers.Linear):
            weights = (
                f"int{layer.weight.bits}" if isinstance(layer.weight, QuantizedTensor) else str(layer.weight.dtype)
            )
        row = (
            f"{type(layer).__name__:<16} {_size(before):>14} {_size(after):>12} {weights:>9} {_layer_bytes(layer):>10,}"
        )
        lines.append(row)
    return "\n".join(lines)


def _told_by(learner: Learner) -> list[str]:
    """What the source tells of the learner, which students can learn by."""
    known = (learner.critic, 'its critic (loss="regret")'), (learner.action_std, 'its spread (loss="kl")')
    return [words for there, words in known if there]


def unread_inputs(policy: Policy) -> list[int]:
    """The numbers of the flattened observation that no action depends on, as far as the first linear layer tells."""
    read: np.ndarray | None = None
    for layer in policy.layers:
        match layer:
            case layers.SelectInputs(indices=indices):
                read = indices.astype(np.int64) if read is None else read[indices]
            case layers.Standardize() | layers.Flatten():
                pass
            case layers.Dense() | layers.QuantizedDense():
                weight = layer.weight.values if isinstance(layer.weight, QuantizedTensor) else layer.weight
                used = np.flatnonzero(np.any(weight, axis=0))
                read = used if read is None else read[used]
                break
            case _:
                break
    n = int(np.prod(layer_shapes(policy)[0]))
    return [] if read is None else sorted(set(range(n)) - set(read.tolist()))


def _inputs(unread: list[int]) -> str:
    """Their numbers in words, at most twelve; nothing where there is none.

    >>> _inputs([2]), _inputs([])
    ('input 2', '')
    """
    rest = f" and {len(unread) - 12} more" if len(unread) > 12 else ""
    return f"input{'s' * (len(unread) > 1)} {', '.join(map(str, unread[:12]))}{rest}" if unread else ""


def _cut(text: str, width: int) -> str:
    return text if len(text) <= max(width, 20) else f"{text[: max(width, 20) - 4]} ..."


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "1"


def _layer_bytes(layer: Any) -> int:
    return sum(array.nbytes for array in constants(layer).values())
