"""The kinds of source there are, in the order in which they are tried."""

from lilliput.models.load.gguf import Gguf
from lilliput.models.load.hugging_face import HuggingFace
from lilliput.models.load.loader import Loader

LOADERS: tuple[Loader, ...] = (Gguf(), HuggingFace())
