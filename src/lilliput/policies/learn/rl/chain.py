"""The deciding network of a framework's model: its layers replaced by compressed ones, and taken out as a Policy."""

import dataclasses
from collections.abc import Iterator
from typing import Any, assert_never

import numpy as np
import torch
from torch import nn

from lilliput.errors import LilliputError
from lilliput.policies import layers
from lilliput.policies.learn.rl.algorithm import Algorithm
from lilliput.policies.policy import Policy, replace_layers
from lilliput.policies.students.torch_layer import Bits, Compressed


def install(model: Any, row: Algorithm, bits: Bits | None, input_bits: int | None) -> tuple[Compressed, ...]:
    """The compressed layers, in order, that now stand in the deciding network (and in the one that follows it).

    Args:
        model: of the framework, just made: its optimizers learn the steps of the quantizers too.
        row: of the algorithm.
        bits: of all layers; None: only masks.
        input_bits: of the observation, where they differ.

    Raises:
        LilliputError: a network whose layers cannot be told.
    """
    policy = model.policy
    chain = _replace(policy, row.decision, row, bits, input_bits)
    if not chain:
        raise LilliputError("the policy has no layer that could be compressed")
    if row.target is not None:
        deciding, following = row.target
        paths = tuple(following + path.removeprefix(deciding) for path in row.decision)
        _replace(policy, paths, row, bits, input_bits)
    steps = [step for layer in chain for step in layer.steps()]
    if steps:
        owner = policy if hasattr(policy, "optimizer") else getattr(policy, row.decision[0].partition(".")[0])
        group = {key: value for key, value in owner.optimizer.param_groups[0].items() if key != "params"}
        owner.optimizer.add_param_group({**group, "params": steps})
    return chain


def mirror(model: Any, row: Algorithm, chain: tuple[Compressed, ...], *, steps: bool) -> None:
    """Gives the following network the masks of the deciding one, and its steps where they have just begun."""
    if row.target is None:
        return
    following = [module for module in getattr(model.policy, row.target[1]).modules() if isinstance(module, Compressed)]
    with torch.no_grad():
        for one, other in zip(chain, following, strict=True):
            for name in ("mask", "unit_mask", "quantized", "largest"):
                getattr(other, name).copy_(getattr(one, name))
            if steps:
                other.log_step.copy_(one.log_step)
                other.log_inverse.copy_(one.log_inverse)
            other.weight.mul_(other.mask)


def plain_state(model: Any) -> dict[str, torch.Tensor]:
    """The state dict of the model's policy as the framework's own layers would have it."""
    state = dict(model.policy.state_dict())
    for name, module in model.policy.named_modules():
        if isinstance(module, Compressed):
            for key in [key for key in state if key.startswith(f"{name}.")]:
                del state[key]
            weight, bias = module.plain()
            state[f"{name}.weight"] = weight.detach().clone()
            if module.bias is not None:
                state[f"{name}.bias"] = bias.detach().clone()
    return state


def deployed(policy: Policy, chain: tuple[Compressed, ...]) -> Policy:
    """The policy that the plain state gave, with each layer of the chain as it was trained, and without dead units."""
    linear = {index: layer for index, layer in enumerate(policy.layers) if isinstance(layer, layers.Linear)}
    indices = list(linear)
    for index, compressed in zip(indices, chain, strict=False):
        linear[index] = compressed.deployed()
    for index, after, compressed in zip(indices, indices[1:], chain, strict=False):
        alive = np.flatnonzero(compressed.unit_mask.numpy())
        size = len(compressed.unit_mask)
        if len(alive) < size:
            linear[index] = _rows(linear[index], alive)
            linear[after] = _columns(linear[after], alive, size)
    return replace_layers(policy, tuple(linear.get(index, layer) for index, layer in enumerate(policy.layers)))


def _rows(layer: layers.Linear, kept: np.ndarray) -> layers.Linear:
    match layer:
        case layers.Dense() | layers.Conv2d():
            bias = None if layer.bias is None else layer.bias[kept]
            return dataclasses.replace(layer, weight=layer.weight[kept], bias=bias)
        case layers.QuantizedDense() | layers.QuantizedConv2d():
            bias = None if layer.bias is None else layer.bias[kept]
            weight = dataclasses.replace(layer.weight, values=np.ascontiguousarray(layer.weight.values[kept]))
            return dataclasses.replace(layer, weight=weight, bias=bias)
        case _:
            assert_never(layer)


def _columns(layer: layers.Linear, kept: np.ndarray, size: int) -> layers.Linear:
    match layer:
        case layers.Dense() | layers.Conv2d():
            columns = _block(kept, layer.weight.shape[1] // size)
            return dataclasses.replace(layer, weight=np.ascontiguousarray(layer.weight[:, columns]))
        case layers.QuantizedDense() | layers.QuantizedConv2d():
            columns = _block(kept, layer.weight.values.shape[1] // size)
            values = np.ascontiguousarray(layer.weight.values[:, columns])
            return dataclasses.replace(layer, weight=dataclasses.replace(layer.weight, values=values))
        case _:
            assert_never(layer)


def _block(kept: np.ndarray, width: int) -> np.ndarray:
    return (kept[:, None] * width + np.arange(width)).reshape(-1)


def _replace(
    policy: nn.Module, paths: tuple[str, ...], row: Algorithm, bits: Bits | None, input_bits: int | None
) -> tuple[Compressed, ...]:
    """Each Linear and Conv2d under the paths replaced by a Compressed one; the last stays where it is averaged."""
    places = list(_places(policy, paths))
    linear = [place for place in places if isinstance(place[2], nn.Linear | nn.Conv2d)]
    made: list[Compressed] = []
    signed, first = True, True
    last = linear[-1][2] if linear and row.folds else None
    for parent, name, module in places:
        if not isinstance(module, nn.Linear | nn.Conv2d):
            # What comes out of these is not negative; of any other activation it can be.
            signed = signed if isinstance(module, nn.Flatten) else not isinstance(module, nn.ReLU)
            continue
        if module is last:
            continue
        image = isinstance(module, nn.Conv2d) and first
        own = bits
        if first and bits is not None and bits.activation is not None and input_bits is not None:
            own = Bits(bits.weight, input_bits)
        compressed = Compressed(module, own, signed=signed and not image, per_input=first and not image)
        setattr(parent, name, compressed)
        made.append(compressed)
        signed, first = True, False
    return tuple(made)


def _places(policy: nn.Module, paths: tuple[str, ...]) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """(parent, name, module) of every module without children under the paths, in the order of a decision."""
    for path in paths:
        parent_path, _, name = path.rpartition(".")
        try:
            parent = policy.get_submodule(parent_path)
            module = policy.get_submodule(path)
        except AttributeError:
            continue
        yield from _leaves(parent, name, module)


def _leaves(parent: nn.Module, name: str, module: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    children = list(module.named_children())
    if not children:
        yield parent, name, module
    for child_name, child in children:
        yield from _leaves(module, child_name, child)
