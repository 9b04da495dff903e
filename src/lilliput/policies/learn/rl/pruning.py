"""Which weights or units are left at each moment of a training.

Gradual magnitude pruning (arXiv 1710.01878), or sparse from the first step, with the least weights put elsewhere from
time to time: anywhere in sparse evolutionary training (SET, arXiv 1707.04780), where the gradient is largest in RigL
(arXiv 1911.11134).
"""

import itertools
import math
from typing import Final

import torch

from lilliput.policies.learn.rl.training import TIMES, Distribution, Pruning
from lilliput.policies.students.torch_layer import Compressed

_MOVED: Final = 0.3
"""Of a layer's weights, at each time (SET's zeta); in RigL at the first, and less and less until none at the last."""


@torch.no_grad()
def cut(chain: tuple[Compressed, ...], pruning: Pruning, sparsity: float) -> None:
    """Masks weights (or hidden units) down to a sparsity; what is masked stays masked, its weights become 0."""
    if pruning.units:
        _cut_units(chain, sparsity)
    else:
        magnitudes = [(layer.weight * layer.mask).abs() for layer in chain]
        for layer, kept in zip(chain, _kept(magnitudes, pruning.distribution, sparsity), strict=True):
            layer.mask.mul_(kept)
    for layer in chain:
        layer.weight.mul_(layer.mask)


@torch.no_grad()
def move(chain: tuple[Compressed, ...], pruning: Pruning, moment: int, seed: int) -> None:
    """Draws masks of that sparsity at the first moment; at later ones the least weights go and others begin from zero.

    What is drawn depends on the seed and the moment alone, not on what was drawn before.
    """
    drawn = torch.Generator().manual_seed(seed * (TIMES + 2) + moment)
    if moment == 1:
        chances = [torch.rand(layer.mask.shape, generator=drawn) for layer in chain]
        for layer, kept in zip(chain, _kept(chances, pruning.distribution, pruning.sparsity), strict=True):
            layer.mask.copy_(kept)
    else:
        for layer in chain:
            if pruning.method == "set":
                _rewire(layer, torch.rand(layer.mask.shape, generator=drawn) * (1 - layer.mask), _MOVED)
            elif layer.gradient is not None and bool(layer.gradient.any()):  # else nothing was learned yet
                _rewire(layer, layer.gradient.abs(), _MOVED * (1 + math.cos(math.pi * (moment - 1) / TIMES)) / 2)
                layer.gradient.zero_()
    for layer in chain:
        layer.weight.mul_(layer.mask)


def _rewire(layer: Compressed, chances: torch.Tensor, part: float) -> None:
    """Takes out that part of the weights, the least, and lets as many begin where the chances are best.

    Where a weight stays it has no chance; in RigL one that has just gone may begin anew.
    """
    there, mask = int(layer.mask.sum()), layer.mask.flatten()
    count = min(round(part * there), mask.numel() - there)
    magnitudes = torch.where(mask > 0, layer.weight.abs().flatten(), torch.full_like(mask, -1.0))
    staying = _largest(magnitudes, there - count)
    beginning = _largest(torch.where(staying > 0, torch.full_like(mask, -1.0), chances.flatten()), count)
    # Also where momentum went on moving what is masked: what begins, begins from zero.
    layer.weight.mul_(staying.reshape(layer.mask.shape))
    layer.mask.copy_((staying + beginning).reshape(layer.mask.shape))


def _kept(magnitudes: list[torch.Tensor], distribution: Distribution, sparsity: float) -> list[torch.Tensor]:
    match distribution:
        case "global":
            everything = torch.cat([each.flatten() for each in magnitudes])
            count = round(sparsity * everything.numel())
            flat = _largest(everything, everything.numel() - count)
            sizes = [each.numel() for each in magnitudes]
            return [part.reshape(each.shape) for part, each in zip(flat.split(sizes), magnitudes, strict=True)]
        case "uniform":
            densities = [1 - sparsity] * len(magnitudes)
        case "erdos_renyi":
            densities = _erdos_renyi([tuple(each.shape) for each in magnitudes], 1 - sparsity)
    # A layer without a weight would cut the network in two.
    return [
        _largest(each.flatten(), max(1, round(density * each.numel()))).reshape(each.shape)
        for each, density in zip(magnitudes, densities, strict=True)
    ]


def _largest(flat: torch.Tensor, count: int) -> torch.Tensor:
    kept = torch.zeros_like(flat)
    kept[torch.sort(flat, descending=True, stable=True).indices[:count]] = 1
    return kept


def _erdos_renyi(shapes: list[tuple[int, ...]], density: float) -> list[float]:
    """Densities proportional to sum(shape) / prod(shape) that hold `density` of all weights; none above 1."""
    sizes = [torch.Size(shape).numel() for shape in shapes]
    raw = [sum(shape) / size for shape, size in zip(shapes, sizes, strict=True)]
    dense = [False] * len(shapes)
    while True:
        free = sum(size * r for size, r, full in zip(sizes, raw, dense, strict=True) if not full)
        left = density * sum(sizes) - sum(size for size, full in zip(sizes, dense, strict=True) if full)
        if not free:
            return [1.0] * len(shapes)
        factor = left / free
        over = [not full and factor * r > 1 for r, full in zip(raw, dense, strict=True)]
        if not any(over):
            return [1.0 if full else max(factor * r, 0.0) for r, full in zip(raw, dense, strict=True)]
        dense = [full or now for full, now in zip(dense, over, strict=True)]


def _cut_units(chain: tuple[Compressed, ...], sparsity: float) -> None:
    for layer, after in itertools.pairwise(chain):
        count = len(layer.unit_mask) - max(1, round((1 - sparsity) * len(layer.unit_mask)))
        norms = (layer.weight * layer.mask).flatten(1).norm(dim=1)
        norms = torch.where(layer.unit_mask > 0, norms, torch.full_like(norms, -1.0))
        gone = torch.sort(norms, stable=True).indices[:count]
        layer.unit_mask[gone] = 0
        layer.mask[gone] = 0
        # Behind a flattened image one channel is several inputs.
        wide = after.mask.shape[1] // len(layer.unit_mask)
        columns = (gone[:, None] * wide + torch.arange(wide)[None]).flatten()
        after.mask[:, columns] = 0
