"""The kinds of source there are, in the order in which they are tried."""

from lilliput.models.load.diffusers import Diffusers
from lilliput.models.load.gguf import Gguf
from lilliput.models.load.hugging_face import HuggingFace
from lilliput.models.load.hugging_face_pictures import HuggingFacePictures
from lilliput.models.load.loader import Loader
from lilliput.models.load.onnx import Onnx
from lilliput.models.load.state_dict import StateDict
from lilliput.models.load.timm import Timm
from lilliput.models.load.torchvision import Torchvision

LOADERS: tuple[Loader, ...] = (
    Timm(), Torchvision(), Gguf(), Onnx(), StateDict(), Diffusers(), HuggingFacePictures(), HuggingFace(),
)  # fmt: skip
