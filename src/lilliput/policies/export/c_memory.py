"""Layers with a memory as calls to the kernels; what they remember stands in the caller's struct."""

import numpy as np

from lilliput.policies import layers
from lilliput.policies.constants import constants
from lilliput.policies.export.c_linear import linear
from lilliput.policies.export.c_writer import LinearPart, Writer
from lilliput.policies.policy import Policy, layer_shapes


def state_arrays(policy: Policy) -> dict[str, int]:
    """The arrays of the state in order, by name, and their lengths."""
    return {
        f"layer{index}_{name}": int(np.prod(shape))
        for index, layer, before in _remembering(policy)
        for name, shape in layers.state_shapes(layer, before).items()
    }


def reset_lines(writer: Writer) -> list[str]:
    """The statements that begin an episode."""
    lines = []
    for index, layer, before in _remembering(writer.policy):
        at = 0
        for name, shape in layers.state_shapes(layer, before).items():
            array, n = f"state->layer{index}_{name}", int(np.prod(shape))
            if "initial" in constants(layer):
                kind = "halves" if constants(layer)["initial"].dtype == np.float16 else "floats"
                given = f"layer{index}_initial{f' + {at}' if at else ''}, {n}, {array}"
                lines.append(f"{writer.kernel(f'begin_with_{kind}', given)};")
            else:
                lines.append(f"memset({array}, 0, sizeof {array});")
            at += n
    return lines


def _remembering(policy: Policy) -> list[tuple[int, layers.Memory, tuple[int, ...]]]:
    shapes = layer_shapes(policy)
    return [(i, layer, shapes[i]) for i, layer in enumerate(policy.layers) if isinstance(layer, layers.Memory)]


def remember(writer: Writer, layer: layers.Memory) -> None:
    """Write a layer with a memory.

    Raises:
        LilliputError: integer sums of a linear part could exceed 32 bits.
    """
    size, name, x = int(np.prod(writer.out_shape)), writer.name, writer.x
    width = int(np.prod(writer.in_shape))
    target = writer.target(size)
    if isinstance(layer, layers.History):
        writer.call("remember_input", f"{x}, {width}, {layer.length - 1}, state->{name}_history, {target}")
        writer.x = target
        return
    if isinstance(layer, layers.PreviousAction):
        writer.call("put_into", f"{x}, {width}, {layer.start}, state->{name}_previous, {layer.size}, {target}")
        writer.x = target
        return
    n = layers.n_units(layer)
    hidden = f"state->{name}_h"
    gates = _part(writer, layer.input, "input", x, "gates")
    others = _part(writer, layer.recurrent, "recurrent", hidden, "hidden_gates")
    if isinstance(layer, layers.Lstm):
        writer.call("lstm_cell", f"{gates}, {others}, {n}, state->{name}_c, {hidden}, {target}")
    elif layer.reset_first:
        reset = writer.need("reset", n)
        writer.call("gru_reset", f"{gates}, {others}, {n}, {hidden}, {reset}")
        again = _part(writer, layer.recurrent, "recurrent", reset, "reset_gates")
        writer.call("gru_cell_after_reset", f"{gates}, {others}, {again}, {n}, {hidden}, {target}")
    else:
        writer.call("gru_cell", f"{gates}, {others}, {n}, {hidden}, {target}")
    writer.x = target


def keep_actions(writer: Writer) -> None:
    """Write what remembers the current values, where they are the action that a layer puts into its input later."""
    for index, layer in enumerate(writer.policy.layers):
        if isinstance(layer, layers.PreviousAction) and writer.index == len(writer.policy.layers) - layer.head:
            x = writer.x if writer.index < len(writer.policy.layers) else "action"
            writer.comment(f"layer{index} gets this in the next decision")
            if layer.steps > 1:
                older, kept = (layer.steps - 1) * layer.actions, f"state->layer{index}_previous"
                writer.lines.append(f"memmove({kept}, {kept} + {layer.actions}, {older} * sizeof *{kept});")
                writer.call("copy_floats", f"{x}, {layer.actions}, {kept} + {older}")
            else:
                writer.call("copy_floats", f"{x}, {layer.actions}, state->layer{index}_previous")


def _part(writer: Writer, layer: layers.Dense | layers.QuantizedDense, part: str, x: str, target: str) -> str:
    """The buffer that the linear part is written to."""
    name, before = writer.name, writer.x
    writer.name, writer.x = f"{name}_{part}", x
    writer.part = LinearPart(layer.weight.shape[1], layer.weight.shape[0], target)
    linear(writer, layer)
    written = writer.x
    writer.name, writer.x, writer.part = name, before, None
    return written
