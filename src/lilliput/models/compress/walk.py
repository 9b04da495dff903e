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
from lilliput.models.linear import is_transposed, rows_of

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


def linear_weights(module: "torch.nn.Module") -> dict[str, "torch.nn.Module"]:
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
            if isinstance(part, nn.Linear) or is_transposed(part):
                found[f"{prefix}.{at}.{name}.weight"] = part
            elif any(tensor.ndim > 1 for tensor in part.parameters(recurse=False)):
                raise LilliputError(
                    f"{prefix}.{at}.{name} is {type(part).__name__}; blocks of Linear layers (and norms) are "
                    "supported: half() and finetune take the others"
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
        calls = _calls_of(module, blocks, windows)
        hidden = [args[0] for args, _ in calls[0]]
        for at, block in enumerate(blocks):
            states = [((x, *args[1:]), kwargs) for x, (args, kwargs) in zip(hidden, calls[at], strict=True)]
            inside = {name: part for name, part in linear.items() if name.startswith(f"{prefix}.{at}.")}
            hessians = _hessians(block, inside, states)
            for name, part in inside.items():
                new = change(name, rows_of(part).detach().float().cpu().numpy(), hessians[name])
                rows_of(part).copy_(torch.from_numpy(new))
            del hessians
            if at + 1 < len(blocks):
                hidden = [_output(block(*args, **kwargs)) for args, kwargs in states]
            context.done("blocks", at + 1, len(blocks))


Call = tuple[tuple[Any, ...], dict[str, Any]]
"""What a block is called with, for one batch."""


def _calls_of(module: "torch.nn.Module", blocks: "torch.nn.ModuleList", windows: np.ndarray) -> list[list[Call]]:
    """Of each block, what it is called with beside its hidden states; with the first block's hidden states.

    Blocks are mostly called alike, and then the model runs up to the first alone. Where windows of attention or
    positions differ from block to block (Gemma), it runs up to the last.
    """
    once = _caught(module, list(blocks), windows[:1])
    (first, kwargs), *_ = once[0]
    if all(_alike(((None, *first[1:]), kwargs), calls[0]) for calls in once[1:]):
        return _caught(module, [blocks[0]], windows) * len(blocks)
    return _caught(module, list(blocks), windows)


def _caught(module: "torch.nn.Module", blocks: "list[torch.nn.Module]", windows: np.ndarray) -> list[list[Call]]:
    """The calls of each of those blocks, batch by batch; the model runs until the last of them would begin."""
    import torch

    calls: list[list[Call]] = [[] for _ in blocks]

    def catches(at: int) -> Callable[..., None]:
        def caught(_: Any, args: Any, kwargs: dict[str, Any]) -> None:
            calls[at].append((args if at == 0 else (None, *args[1:]), kwargs))
            if at == len(blocks) - 1:
                raise _Reached

        return caught

    hooks = [block.register_forward_pre_hook(catches(at), with_kwargs=True) for at, block in enumerate(blocks)]
    device = next(module.parameters()).device
    size = max(_TOKENS_AT_ONCE // windows.shape[1], 1)
    try:
        for start in range(0, len(windows), size):
            try:
                module(input_ids=torch.from_numpy(windows[start : start + size].copy()).to(device), use_cache=False)
            except _Reached:
                continue
    finally:
        for hook in hooks:
            hook.remove()
    if not all(calls) or not calls[0][0][0]:
        raise LilliputError("the first block is not called with its hidden states as a positional argument")
    return calls


def _alike(one: Any, other: Any) -> bool:
    """Whether two calls give a block the same besides its hidden states: the same tensors, equal values."""
    import torch

    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_alike(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one is other or torch.equal(one, other)
    return one is other or (not isinstance(one, torch.Tensor) and not isinstance(other, torch.Tensor) and one == other)


def _hessians(
    block: "torch.nn.Module", inside: dict[str, "torch.nn.Module"], states: list[Call]
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
    return returned[0] if isinstance(returned, tuple | list) else returned
