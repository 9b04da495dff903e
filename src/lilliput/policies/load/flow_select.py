"""Elements that are taken out of a chain's values, or put into another order: into the layers beside them."""

import math
from typing import get_args

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers
from lilliput.policies.affine import QuantizedTensor
from lilliput.policies.load.flow import Affine, Bounds, Common, Select, Softmax, Step

_ELEMENTWISE = (Affine, Bounds, Common, Softmax, *get_args(layers.Activation))


def taken_up(chain: list[Step], shape: tuple[int, ...]) -> list[Step]:
    """The chain with each selection taken up by a dense layer, or at its beginning."""
    index = next((i for i, step in enumerate(chain) if isinstance(step, Select)), None)
    for _ in range(len(chain)):
        if index is None:
            return chain
        select = chain[index]
        assert isinstance(select, Select)
        above = index - 1
        while above >= 0 and isinstance(chain[above], _ELEMENTWISE):
            above -= 1
        between = chain[above + 1 : index]
        producer = chain[above] if above >= 0 else None
        if isinstance(producer, layers.Dense | layers.QuantizedDense):
            rows = _rows(producer, select.index)
            chain = [*chain[:above], rows, *(_of(step, select.index) for step in between), *chain[index + 1 :]]
        elif producer is None and (_is_ascending(select.index, shape) or is_transposed_image(select, shape)):
            vectors = [_of(step, select.index) for step in between]
            if index > 0 and isinstance(chain[0], Select):
                raise LilliputError("the observation's elements are selected twice; supported: once")
            first: Step = select
            if len(shape) == 1:
                first = layers.SelectInputs(select.index.astype(np.uint16))
            chain = [first, *vectors, *chain[index + 1 :]]
            if isinstance(first, Select):
                return [first, *taken_up(chain[1:], shape[-1:] + shape[:-1])]
        else:
            chain = _taken_below(chain, index)
        index = next((i for i, step in enumerate(chain) if isinstance(step, Select)), None)
    return chain


def _is_ascending(index: np.ndarray, shape: tuple[int, ...]) -> bool:
    return len(shape) == 1 and bool((np.diff(index) > 0).all()) and int(index[-1]) < 1 << 16


def is_transposed_image(select: Select, shape: tuple[int, ...]) -> bool:
    """Whether the selection puts the channels of an image first, which stood last."""
    if len(shape) != 3:
        return False
    wanted = np.arange(math.prod(shape)).reshape(shape).transpose(2, 0, 1).reshape(-1)
    return np.array_equal(select.index, wanted)


def _of(step: Step, index: np.ndarray) -> Step:
    """An elementwise step on the selected elements alone."""
    match step:
        case Affine(scale=scale, shift=shift):
            return Affine(*(part if not part.shape else part[index] for part in (scale, shift)))
        case Bounds(low=low, high=high):
            return Bounds(*(part if not part.shape else part[index] for part in (low, high)))
        case Softmax() | Common():
            raise LilliputError("a part of probabilities is used; export the logits")
        case _:
            return step


def _rows(layer: layers.Dense | layers.QuantizedDense, index: np.ndarray) -> Step:
    bias = None if layer.bias is None else layer.bias[index]
    if isinstance(layer, layers.Dense):
        return layers.Dense(layer.weight[index], bias)
    scale = layer.weight.scale if not layer.weight.scale.shape else layer.weight.scale[index]
    tensor = QuantizedTensor(layer.weight.values[index], scale, layer.weight.bits)
    return layers.QuantizedDense(tensor, bias, layer.input)


def _taken_below(chain: list[Step], at: int) -> list[Step]:
    """The chain with the selection in the columns of the dense layer that follows."""
    select = chain[at]
    assert isinstance(select, Select)
    below = at + 1
    while below < len(chain) and isinstance(chain[below], (*_ELEMENTWISE, layers.Flatten)):
        below += 1
    layer = chain[below] if below < len(chain) else None
    if not isinstance(layer, layers.Dense):
        raise LilliputError(
            "elements are taken, or put into another order, where no dense layer can take that up; export the model "
            "without it"
        )
    size = select.size
    columns = np.zeros((size, len(layer.weight)), np.float64)
    np.add.at(columns, select.index, layer.weight.T.astype(np.float64))
    weight = np.ascontiguousarray(columns.T)
    between = [
        _spread(step, select.index, size) for step in chain[at + 1 : below] if not isinstance(step, layers.Flatten)
    ]
    flat: list[Step] = [layers.Flatten()]
    return [*chain[:at], *flat, *between, layers.Dense(weight.astype(np.float32), layer.bias), *chain[below + 1 :]]


def _spread(step: Step, index: np.ndarray, size: int) -> Step:
    """An elementwise step on selected elements as one on all, those of which nothing depends left alone."""

    def spread(part: np.ndarray, rest: float) -> np.ndarray:
        if not part.shape:
            return part
        whole = np.full(size, rest)
        whole[index] = part
        if not np.array_equal(whole[index], part):
            raise LilliputError("an element is taken twice, and scaled differently; export the model without that")
        return whole

    match step:
        case Affine(scale=scale, shift=shift):
            return Affine(spread(scale, 1.0), spread(shift, 0.0))
        case Bounds(low=low, high=high):
            return Bounds(spread(low, -np.inf), spread(high, np.inf))
        case Softmax() | Common():
            raise LilliputError("a part of probabilities is used; export the logits")
        case _:
            return step
