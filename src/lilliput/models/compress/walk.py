"""From the first block of a transformer to the last: each linear layer with the Hessian of what it gets by then.

One block's Hessians are in memory at a time, and one set of hidden states: what the next block gets from the blocks
before it as they were compressed.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int64

from lilliput.errors import LilliputError
from lilliput.models.compress.context import Context

if TYPE_CHECKING:
    import torch

Change = Callable[[str, np.ndarray, np.ndarray], np.ndarray]
"""From a weight's name, the weight as float32 and its Hessian to the new weight, as float32."""

_TOKENS_AT_ONCE = 4096


class _Reached(Exception):
    """Raised where the first block would begin: what comes before it has run, and nothing else has to."""


def blocks_of(module: "torch.nn.Module") -> tuple[str, "torch.nn.ModuleList"]:
    """The blocks of a transformer, and the name under which they stand.

    Raises:
        LilliputError: it has no list of like blocks.
    """
    from torch import nn

    lists = {
        name: part
        for name, part in module.named_modules()
        if isinstance(part, nn.ModuleList) and len(part) and len({type(one) for one in part}) == 1
    }
    if not lists:
        raise LilliputError("the model has no list of like blocks to go through; it is no transformer that is known")
    name = max(lists, key=lambda name: sum(tensor.numel() for tensor in lists[name].parameters()))
    return name, lists[name]


def linear_weights(module: "torch.nn.Module") -> dict[str, "torch.nn.Linear"]:
    """Every linear layer inside the blocks, by the name of its weight, from the front.

    Embeddings and the head stand outside of the blocks: they are left alone, tied or not, as in the published work.

    Raises:
        LilliputError: a block has matrices in another kind of layer, which would be left out in silence.
    """
    from torch import nn

    prefix, blocks = blocks_of(module)
    found = {}
    for at, block in enumerate(blocks):
        for name, part in block.named_modules():
            if isinstance(part, nn.Linear):
                found[f"{prefix}.{at}.{name}.weight"] = part
            elif any(tensor.ndim > 1 for tensor in part.parameters(recurse=False)):
                raise LilliputError(
                    f"{prefix}.{at}.{name} is {type(part).__name__}; blocks of Linear layers (and norms) are supported"
                )
    return found


def walk(
    module: "torch.nn.Module", windows: Int64[np.ndarray, "samples tokens"], change: Change, context: Context
) -> None:
    """Set each linear weight of the module's blocks, block by block, to what `change` makes of it."""
    import torch

    prefix, blocks = blocks_of(module)
    linear = linear_weights(module)
    with torch.inference_mode():
        states = _first_states(module, blocks[0], windows)
        for at, block in enumerate(blocks):
            inside = {name: part for name, part in linear.items() if name.startswith(f"{prefix}.{at}.")}
            hessians = _hessians(block, inside, states)
            for name, part in inside.items():
                new = change(name, part.weight.detach().float().cpu().numpy(), hessians[name])
                part.weight.copy_(torch.from_numpy(new))
            del hessians
            if at + 1 < len(blocks):
                states = [((_output(block(*args, **kwargs)), *args[1:]), kwargs) for args, kwargs in states]
            context.done("blocks", at + 1, len(blocks))


State = tuple[tuple[Any, ...], dict[str, Any]]
"""What a block is called with, for one batch."""


def _first_states(module: "torch.nn.Module", first: "torch.nn.Module", windows: np.ndarray) -> list[State]:
    import torch

    states: list[State] = []

    def caught(_: Any, args: Any, kwargs: dict[str, Any]) -> None:
        states.append((args, kwargs))
        raise _Reached

    hook = first.register_forward_pre_hook(caught, with_kwargs=True)
    device = next(module.parameters()).device
    size = max(_TOKENS_AT_ONCE // windows.shape[1], 1)
    try:
        for start in range(0, len(windows), size):
            try:
                module(input_ids=torch.from_numpy(windows[start : start + size].copy()).to(device), use_cache=False)
            except _Reached:
                continue
    finally:
        hook.remove()
    if not states or not states[0][0]:
        raise LilliputError("the first block is not called with its hidden states as a positional argument")
    return states


def _hessians(
    block: "torch.nn.Module", inside: dict[str, "torch.nn.Linear"], states: list[State]
) -> dict[str, np.ndarray]:
    """The mean of x xᵀ over all inputs x of each linear layer; layers that read the same tensor share one."""
    import torch

    sums: dict[str, torch.Tensor] = {}
    leader: dict[str, str] = {}
    n = 0
    seen: list[tuple[torch.Tensor, str]] = []

    def gathers(name: str) -> Callable[..., None]:
        def gather(_: Any, args: tuple[Any, ...]) -> None:
            x = args[0]
            same = next((other for tensor, other in seen if tensor is x), None)
            if leader.setdefault(name, same or name) != name:
                return
            seen.append((x, name))
            rows = x.reshape(-1, x.shape[-1]).float()
            product = rows.T @ rows
            sums[name] = sums[name] + product if name in sums else product

        return gather

    hooks = [part.register_forward_pre_hook(gathers(name)) for name, part in inside.items()]
    try:
        for args, kwargs in states:
            block(*args, **kwargs)
            n += args[0].shape[0] * args[0].shape[1]
            seen.clear()
    finally:
        for hook in hooks:
            hook.remove()
    missing = [name for name in inside if name not in leader]
    if missing:
        raise LilliputError(f"{missing[0]} was never reached by the calibration text; it cannot be calibrated")
    return {name: (sums[leader[name]] / n).cpu().numpy() for name in inside}


def _output(returned: Any) -> Any:
    return returned[0] if isinstance(returned, tuple) else returned
