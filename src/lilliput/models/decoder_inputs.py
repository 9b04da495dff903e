"""What exported language models take besides tokens, given so that a text is read from its beginning to its end."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lilliput.errors import LilliputError

if TYPE_CHECKING:
    import onnxruntime

TOKENS = "input_ids"

_PAST = ("past_", "past.", "cache_")
_KINDS = {
    "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(bool)": np.bool_, "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
}  # fmt: skip


def with_inputs(feeds: Mapping[str, np.ndarray], inputs: "Sequence[onnxruntime.NodeArg]") -> Mapping[str, np.ndarray]:
    """The feeds, and all that the graph takes besides the tokens in them: every token is seen, none came before.

    Raises:
        LilliputError: it takes something that is not known here.
    """
    given = dict(feeds)
    rows, length = feeds[TOKENS].shape
    for one in inputs:
        if one.name in given:
            continue
        kind = _KINDS.get(one.type)
        if kind is None:
            raise LilliputError(f"the graph takes {one.name} as {one.type}, which nothing here gives it")
        match one.name:
            case "attention_mask":
                found = np.ones((rows, length))
            case "position_ids" if len(one.shape) == 2:
                found = np.broadcast_to(np.arange(length), (rows, length))
            case "cache_position":
                found = np.arange(length)
            case "token_type_ids":
                found = np.zeros((rows, length))
            case "use_cache_branch":
                found = np.zeros(1)
            case "num_logits_to_keep" | "logits_to_keep":
                found = np.zeros(())  # all of them
            case name if name.startswith(_PAST):
                axes = [axis if isinstance(axis, int) else 0 for axis in one.shape]
                found = np.zeros([rows, *axes[1:]])
            case name:
                raise LilliputError(f"the graph takes {name} besides {TOKENS}, which nothing here gives it")
        given[one.name] = np.ascontiguousarray(found.astype(kind))
    return given
