"""Training of a language model to think every next token as likely as the uncompressed one does."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from jaxtyping import Int64

from lilliput.errors import LilliputError
from lilliput.models.compress.context import Context
from lilliput.models.model import module_of

if TYPE_CHECKING:
    import numpy as np
    import torch

_BATCH_TOKENS = 2048


def imitate(
    module: "torch.nn.Module",
    weights: Sequence["torch.Tensor"],
    windows: 'Int64[np.ndarray, "samples tokens"]',
    context: Context,
    step_name: str,
    steps: int,
    learning_rate: float,
    *,
    after: Callable[[], None] = lambda: None,
) -> None:
    """Change those weights of the module by Adam, `after` each of so many steps.

    Raises:
        LilliputError: the loss is not finite.
    """
    import torch

    teacher, rng = module_of(context.teacher, step_name), context.rng(step_name)
    optimizer = torch.optim.Adam(weights, lr=learning_rate)
    length = windows.shape[1]
    rows = max(_BATCH_TOKENS // length, 1)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * (1 - step / steps)
        picked = rng.choice(len(windows), min(rows, len(windows)), replace=False)
        ids = torch.from_numpy(windows[picked]).to(weights[0].device)
        with torch.no_grad():
            wanted = torch.log_softmax(teacher(input_ids=ids, use_cache=False).logits.float(), -1)
        found = torch.log_softmax(module(input_ids=ids, use_cache=False).logits, -1)
        loss = torch.nn.functional.kl_div(found, wanted, log_target=True, reduction="batchmean") / length
        if not torch.isfinite(loss):
            raise LilliputError(f"{step_name}: the loss is not finite; lower learning_rate")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        after()
        context.done("training", step + 1, steps)
