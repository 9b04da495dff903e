"""Whether the layers in a file of weights are all that there is: its keys tell neither sums nor gates between them.

A chain of layers of different sizes leaves no room for either. Where two values on the way have as many numbers, a
program may add them (a residual connection, two encoders) or multiply them, with the very same keys: then it is asked.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers
from lilliput.policies.layers import Layer
from lilliput.policies.load.network import BATCH_NORM_EPSILON, State
from lilliput.policies.load.saved import Saved
from lilliput.policies.load.source import Source

JOYSTICK = 18
"""Choices of an Atari game at most."""
LAYER_NORMS = f"norms are taken as torch's LayerNorm, epsilon {BATCH_NORM_EPSILON:g}, not as group or batch norms"


def doubt_of_sizes(arrays: State, names: Sequence[str]) -> str:
    """Why the Linear layers of these names may not just follow one another; "" where their sizes leave no room.

    >>> import numpy as np
    >>> chain = {"a.weight": np.zeros((32, 6)), "b.weight": np.zeros((16, 32)), "c.weight": np.zeros((16, 16))}
    >>> doubt_of_sizes(chain, ["a", "b"])
    ''
    >>> doubt_of_sizes(chain, ["a", "b", "c"])
    'b and c have 16 numbers each, which may be added to or multiplied by each other'
    """
    weights = [arrays[f"{name}.weight"] for name in names]
    sizes = [
        ("its observation", weights[0].shape[1]),
        *((f"{name[:40]}", len(weight)) for name, weight in zip(names, weights, strict=True)),
    ]
    for (one, size), (other, same) in itertools.combinations(sizes, 2):
        if size == same:
            return f"{one} and {other} have {size} numbers each, which may be added to or multiplied by each other"
    return ""


def in_order(stack: Sequence[Layer]) -> tuple[str, ...]:
    """The sentence on layers of one size, which a known program runs one after the other; none without such layers."""
    dense = [layer.weight.shape for layer in stack if isinstance(layer, layers.Dense)]
    sizes = [dense[0][1], *(rows for rows, _ in dense)] if dense else []
    twice = next((size for size in sizes if sizes.count(size) > 1), None)
    if twice is None:
        return ()
    said = f"a sum or gate of two values of {twice} numbers (a residual connection) would not show in the file"
    return (f"its layers are taken one after the other: {said}",)


def doubt_of_outputs(saved: Saved, last: str, source: Source) -> str:
    """Why the outputs may be two numbers an action; "" where that cannot be, or the number of actions is known."""
    outputs = len(saved.arrays[f"{last}.weight"])
    options = source.options
    counted = options.environment is not None or (options.low is not None and np.size(options.low) > 1)
    if outputs % 2 or counted or options.action not in ("continuous", "tanh"):
        return ""
    return f"its {outputs} outputs may be the means and spreads of {outputs // 2} actions"


def outputs_said(saved: Saved, last: str, source: Source) -> tuple[str, ...]:
    """The sentence on outputs that may be two numbers an action, of programs whose files people bring most; or none."""
    doubt = doubt_of_outputs(saved, last, source)
    return (f"{doubt.replace(' may be', ' are taken as actions, not as')}",) if doubt else ()


def choices_said(n: int, source: Source) -> tuple[str, ...]:
    """The sentence on `n` outputs that the user alone says are choices; none where an environment takes as many.

    Raises:
        LilliputError: they are more than a joystick's, which are often several numbers a choice, and neither an
            environment nor `plain` says that each is a choice.
    """
    if source.options.check_choices(n, source.name) or source.options.action != "discrete":
        return ()
    if n > JOYSTICK:
        source.options.only_layers(
            source.name,
            f"its {n} outputs may be a distribution of each choice's value (of QR-DQN export the mean of each choice's "
            "quantiles as ONNX; C51 is not read, as ONNX neither) or several choices at once; --env tells it too",
        )
    return (one_number_a_choice(n),)


def one_number_a_choice(n: int) -> str:
    """The sentence on what `n` outputs that are taken as choices are not taken for."""
    return (
        f"its {n} outputs are taken as one number a choice: not as a distribution of each one's value (C51, QR-DQN), "
        "not as several choices (MultiDiscrete)"
    )


def check_row(shape: Sequence[int], rows: int) -> None:
    """Check that outputs of this shape, for `rows` observations, are a row of numbers, one a choice.

    Raises:
        LilliputError: they are a table: a row for each choice, or for each of several choices.
    """
    own = [size for size in shape if size > 1]
    if len(own) - (rows > 1) > 1:
        raise LilliputError(
            f"its output has the shape {list(shape[-2:])} an observation: several numbers a choice (of QR-DQN "
            "export the mean of each choice's quantiles; C51 is not read), or several choices "
            "(export the argmax of each row)"
        )


def norm_among(stack: Sequence[Layer], arrays: State) -> str:
    """What is not known of a norm among the layers that has torch's epsilon; "" where there is none."""
    norms = [layer for layer in stack if isinstance(layer, layers.LayerNorm) and layer.epsilon == BATCH_NORM_EPSILON]
    names = [
        key.removesuffix(".weight")
        for key, array in arrays.items()
        if key.endswith(".weight") and array.ndim == 1 and array.size in {norm.weight.size for norm in norms}
    ]
    return f"{names[0][:60]} may be a layer norm, a group norm or another one" if names else ""
