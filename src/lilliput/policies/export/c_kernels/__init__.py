"""The hand-written kernels of the C format, one file each, and how the ones that a policy calls become one header."""

import re
from collections.abc import Iterable
from importlib.resources import files

_INCLUDE = re.compile(r'^#include "(\w+\.h)"\n', re.MULTILINE)


def bundle(wanted: Iterable[str]) -> str:
    """The kernels and what they stand on as one text, each file once, in an order in which they compile."""
    written: set[str] = set()

    def text(name: str) -> str:
        if name in written:
            return ""
        written.add(name)
        source = (files(__name__) / name).read_text()
        return _INCLUDE.sub(lambda match: text(match[1]), source).strip("\n") + "\n\n"

    return "".join(text(f"{name}.h") for name in ["core", *wanted])
