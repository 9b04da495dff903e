"""Where torch computes: the processor, or the graphics card that `--device`, or LILLIPUT_DEVICE, names."""

import os
import re
from typing import TYPE_CHECKING

from lilliput.errors import LilliputError

if TYPE_CHECKING:
    import torch

DEVICE = "LILLIPUT_DEVICE"
"""The environment variable: a machine's matter, so no study says it, and processes that run cells inherit it."""

_KNOWN = re.compile(r"cpu|cuda(:\d{1,2})?")


def device() -> str:
    """Its name: cpu, unless something else is named.

    Raises:
        LilliputError: it is none, or torch does not see it.
    """
    name = os.environ.get(DEVICE) or "cpu"
    if not _KNOWN.fullmatch(name):
        raise LilliputError(f"device {name[:40]!r} is not known; write cpu, cuda or cuda:1")
    if name != "cpu":
        from torch import cuda

        n = cuda.device_count()
        if int(name.partition(":")[2] or 0) >= n:
            raise LilliputError(
                f"device {name!r}: torch sees {n} of that kind here; leave --device out for the processor"
            )
    return name


def placed(module: "torch.nn.Module") -> "torch.nn.Module":
    """The module on that device, ready to answer and not to be trained.

    Raises:
        LilliputError: there is no such device.
    """
    return module.to(device()).eval().requires_grad_(False)
