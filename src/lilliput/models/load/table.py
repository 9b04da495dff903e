"""The kinds of source there are, in the order in which they are tried."""

from lilliput.models.load.gguf import Gguf
from lilliput.models.load.hugging_face import HuggingFace
from lilliput.models.load.loader import Loader
from lilliput.models.load.onnx import Onnx
from lilliput.models.load.state_dict import StateDict

LOADERS: tuple[Loader, ...] = (Gguf(), Onnx(), StateDict(), HuggingFace())
