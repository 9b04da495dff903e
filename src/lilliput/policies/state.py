"""What a policy remembers, as an artifact shows it: ports of two axes by name, which several layers may share."""

from dataclasses import dataclass
from typing import Any, final

import numpy as np

from lilliput.policies import layers, reference
from lilliput.policies.policy import Policy, layer_shapes


@final
@dataclass(frozen=True, eq=False)
class Port:
    """One array of the state.

    Attributes:
        name: `h` and `c` where all layers with a memory are of one kind and size, stacked in their order as rsl_rl
            does; else with the number of the layer among them behind it.
        initial: at an episode's start, float32 of shape (layers, units), or (steps, inputs) of a history.
        members: the places in `reference.State` of what is stacked.
    """

    name: str
    initial: np.ndarray
    members: tuple[int, ...]


def ports(policy: Policy) -> tuple[Port, ...]:
    """All of the state, in the order of the first layer's; none for a policy without memory."""
    shapes = layer_shapes(policy)
    kept = [
        (layer, layers.state_shapes(layer, shape))
        for layer, shape in zip(policy.layers, shapes, strict=False)
        if isinstance(layer, layers.Memory)
    ]
    start = [one[0] for one in reference.start(policy)]
    places, at = list[dict[str, int]](), 0
    for _, names in kept:
        places.append({name: at + i for i, name in enumerate(names)})
        at += len(names)
    if len({(type(layer), *names.values()) for layer, names in kept}) == 1 and (
        len(kept) == 1 or isinstance(kept[0][0], layers.Recurrent)
    ):
        members = {name: tuple(each[name] for each in places) for name in places[0]}
    else:
        members = {f"{name}_{n}": (place,) for n, each in enumerate(places) for name, place in each.items()}
    return tuple(
        Port(name, np.concatenate([np.atleast_2d(start[place]) for place in among]), among)
        for name, among in members.items()
    )


def to_json(policy: Policy) -> dict[str, dict[str, Any]]:
    """What a manifest says of the state: the shape of each port and, unless it begins with zeros, its numbers."""
    return {
        port.name: {
            "shape": list(port.initial.shape),
            "initial": port.initial.reshape(-1).astype(float).tolist() if port.initial.any() else [],
        }
        for port in ports(policy)
    }


def initial(state: dict[str, dict[str, Any]]) -> dict[str, np.ndarray]:
    """The state at an episode's start that a manifest tells, by the names of its ports."""
    found = {}
    for name, port in state.items():
        shape = tuple(map(int, port["shape"]))
        found[name] = (
            np.array(port["initial"], np.float32).reshape(shape) if port["initial"] else np.zeros(shape, np.float32)
        )
    return found
