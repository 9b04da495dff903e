"""Hugging Face classifiers of pictures and detectors: folders of safetensors, asked by pictures alone."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, final

from lilliput.errors import LilliputError
from lilliput.models.images import Picture
from lilliput.models.library import transformers
from lilliput.models.load.hugging_face import check_complete, check_config, check_weights, readable, weights_sha256
from lilliput.models.load.loader import Loader, LoadRequest, check_family
from lilliput.models.model import Family, Model, Module, Port, Provenance

if TYPE_CHECKING:
    import torch

_CLASSIFIER, _DETECTOR = "ForImageClassification", "ForObjectDetection"
_DETECTORS: Final = {
    **dict.fromkeys(("detr", "table-transformer", "yolos"), "yolos"),
    **dict.fromkeys(
        ("conditional_detr", "d_fine", "dab-detr", "deformable_detr", "deimv2", "lw_detr", "rf_detr", "rt_detr",
         "rt_detr_v2"),
        "rtdetr",
    ),
}  # fmt: skip
"""By the kind that a configuration names, the decoder of what it gives."""
_BICUBIC = 3
"""Pillow's number of the filter, as configurations write it."""


@final
@dataclass(frozen=True)
class HuggingFacePictures(Loader):
    """A folder whose config.json names a classifier of pictures or a detector."""

    NAME: ClassVar[str] = "hugging_face_pictures"
    WHAT: ClassVar[str] = "Hugging Face folders and hub ids of classifiers of pictures and of detectors (DETRs, YOLOS)"

    def recognise(self, request: LoadRequest) -> bool:
        """Whether its configuration names such a network."""
        return _architecture(Path(request.source)).endswith((_CLASSIFIER, _DETECTOR))

    def load(self, request: LoadRequest) -> Model:
        """The model as float32; no code of the folder runs."""
        folder = Path(request.source)
        detects = _architecture(folder).endswith(_DETECTOR)
        family: Family = "detection" if detects else "classification"
        check_family(request, family)
        check_weights(folder)
        library = transformers()
        kind = library.AutoModelForObjectDetection if detects else library.AutoModelForImageClassification
        where: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
        with readable(folder):
            config = library.AutoConfig.from_pretrained(folder, **where)
            check_config(config, request.source)
            if detects and config.model_type not in _DETECTORS:
                raise LilliputError(
                    f"{request.source!r} is {config.model_type}; detectors read: {', '.join(_DETECTORS)}"
                )
            network, info = kind.from_pretrained(
                folder,
                config=config,
                use_safetensors=True,
                output_loading_info=True,
                dtype="float32",
                attn_implementation="eager",  # the one that exports to ONNX whatever the network
                **where,
            )
        check_complete(info, request.source)
        given = ("logits", "pred_boxes") if detects else ("logits",)
        said = _processor(folder)
        shape, picture, guesses = _seen(config, said, detects=detects)
        network = network.eval().requires_grad_(False)
        outputs = _outputs(network, given, shape)
        text = json.dumps(config.to_dict(), sort_keys=True, default=str)
        provenance = Provenance(request.source, "", weights_sha256(folder), self.NAME, "float32", guesses)
        return Model(
            Module(chosen(network, given), text),
            family,
            (Port("pixel_values", "float32", ("batch", *shape)),),
            outputs,
            picture=picture,
            decoder=_DETECTORS[config.model_type] if detects else "",
            provenance=provenance,
        )


def chosen(network: "torch.nn.Module", names: tuple[str, ...]) -> "torch.nn.Module":
    """The network, giving those of its outputs alone, in that order."""
    from torch import nn

    class Chosen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, *inputs: "torch.Tensor") -> Any:
            found = self.network(*inputs)
            given = [found[name] for name in names]
            return tuple(given) if len(given) > 1 else given[0]

    return Chosen().eval()


def _architecture(folder: Path) -> str:
    """What the configuration calls the network; empty where there is none."""
    try:
        said: Any = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        named = said["architectures"][0]
    except (OSError, ValueError, KeyError, IndexError, TypeError, RecursionError):
        return ""
    return named if isinstance(named, str) else ""


def _processor(folder: Path) -> Mapping[str, Any]:
    """What stands beside the weights of how pictures become inputs; nothing where nothing does.

    Raises:
        LilliputError: it is no JSON object.
    """
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return {}
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise LilliputError(f"{path} cannot be read: {str(error)[:80]}") from error
    if not isinstance(said, dict):
        raise LilliputError(f"{path} is no JSON object")
    return said


def _seen(
    config: Any, said: Mapping[str, Any], *, detects: bool
) -> tuple[tuple[int, int, int], Picture, tuple[str, ...]]:
    """The shape of the input, how a picture becomes one, and what was guessed of it."""
    guesses = () if said else ("no preprocessor_config.json: pictures are scaled to [0, 1]; --picture says otherwise",)
    height, width, resize, fit = _size(config, said)
    channels = int(getattr(config, "num_channels", 3))
    standard = said.get("do_normalize", bool(said))
    numbers: dict[str, Any] = {
        "mean": tuple(map(float, said.get("image_mean") or (0.5,) * channels)) if standard else (0.0, 0.0, 0.0),
        "std": tuple(map(float, said.get("image_std") or (0.5,) * channels)) if standard else (1.0, 1.0, 1.0),
        "filter": "bicubic" if said.get("resample") == _BICUBIC else "bilinear",
    }
    if said and (said.get("do_rescale") is False or abs(float(said.get("rescale_factor", 1 / 255)) * 255 - 1) > 1e-6):
        raise LilliputError(
            "its preprocessor_config.json scales pixels otherwise than to [0, 1]; that is not supported"
        )
    if detects:
        if not ({"height", "width"} <= set(said.get("size") or ())):
            guesses += (f"pictures are stretched to {height} x {width}; transformers itself keeps their shape",)
        return (channels, height, width), Picture(fit="stretch", **numbers), guesses
    if height != width:
        raise LilliputError(f"it takes pictures of {height} x {width}; square ones are supported")
    return (channels, height, width), Picture(size=height, fit=fit, resize=resize, **numbers), guesses


def _size(config: Any, said: Mapping[str, Any]) -> tuple[int, int, float, Any]:
    """Height, width, how much longer the shorter edge is before the crop, and whether there is one."""
    size, crop = said.get("size"), said.get("crop_size")
    if isinstance(size, int):
        size = {"shortest_edge": size}
    if isinstance(crop, int):
        crop = {"height": crop, "width": crop}
    own = getattr(config, "image_size", None)
    own = (own, own) if isinstance(own, int) else tuple(own) if own else None
    match size, crop:
        case {"shortest_edge": int(edge)}, {"height": int(height), "width": int(width)} if said.get(
            "do_center_crop", True
        ):
            return height, width, max(edge / height, 1.0), "crop"
        case {"shortest_edge": int(edge)}, _ if own is None:
            # ConvNeXT's way: below 384 the edge is what is left of a longer one.
            return edge, edge, 1 / float(said.get("crop_pct") or 0.875) if edge < 384 else 1.0, "crop"
        case {"height": int(height), "width": int(width)}, _ if own is None or own == (height, width):
            return height, width, 1.0, "stretch"
        case _:
            height, width = own or (224, 224)
            return int(height), int(width), 1.0, "stretch"


def _outputs(network: "torch.nn.Module", names: tuple[str, ...], shape: tuple[int, ...]) -> tuple[Port, ...]:
    import torch

    try:
        with torch.inference_mode():
            found: Any = network(torch.zeros(1, *shape))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        size = " x ".join(map(str, shape))
        raise LilliputError(f"the network does not take {size}: {' '.join(str(error).split())[:160]}") from error
    return tuple(Port(name, "float32", ("batch", *found[name].shape[1:])) for name in names)
