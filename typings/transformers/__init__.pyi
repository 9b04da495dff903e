# The type checker would read all two thousand modules of transformers, a fifth of its time, to know next to nothing.
from typing import Any

def __getattr__(name: str) -> Any: ...
