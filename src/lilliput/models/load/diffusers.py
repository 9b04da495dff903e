"""Networks of diffusers: U-Nets that find the noise in a picture, and autoencoders of pictures."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

from lilliput.errors import LilliputError
from lilliput.models.images import Picture
from lilliput.models.library import library
from lilliput.models.load.hugging_face import check_complete, check_weights, readable, weights_sha256
from lilliput.models.load.loader import Loader, LoadRequest, check_family
from lilliput.models.model import Model, Module, Port, Provenance

if TYPE_CHECKING:
    import torch

_U_NET, _AUTOENCODER = "UNet2DModel", "AutoencoderKL"
_HALF = Picture(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
"""Pixels from -1 to 1, as all of them have."""

_SCHEDULES = {"linear": "linear", "squaredcos_cap_v2": "cosine"}
"""How noise was added in training: as schedulers say it, and as the tasks do."""


@final
@dataclass(frozen=True)
class Diffusers(Loader):
    """A folder with a config.json of diffusers and safetensors: one network, not a whole pipeline."""

    NAME: ClassVar[str] = "diffusers"
    WHAT: ClassVar[str] = f"diffusers folders and hub ids ({_U_NET}, {_AUTOENCODER})"

    def recognise(self, request: LoadRequest) -> bool:
        """Whether a configuration of diffusers, or of a pipeline, stands in the folder."""
        folder = Path(request.source)
        return "_class_name" in _json(folder / "config.json") or (folder / "model_index.json").is_file()

    def load(self, request: LoadRequest) -> Model:
        """The network as float32; nothing of the folder is executed."""
        check_family(request, "generation")
        folder = Path(request.source)
        kind = _json(folder / "config.json").get("_class_name")
        if kind is None:
            raise LilliputError(
                f"{request.source!r} is a whole pipeline; name a network in it, such as {request.source}/unet"
            )
        if kind not in (_U_NET, _AUTOENCODER):
            raise LilliputError(
                f"{request.source!r} is {str(kind)[:40]}; of diffusers are read: {_U_NET}, {_AUTOENCODER}"
            )
        check_weights(folder)
        made = getattr(library("diffusers", "generation"), kind)
        with readable(folder):
            network, info = made.from_pretrained(
                folder, use_safetensors=True, local_files_only=True, output_loading_info=True, torch_dtype=None
            )
        check_complete(info, request.source)
        network = network.float().eval().requires_grad_(False)
        config = json.dumps(dict(network.config), sort_keys=True, default=str)
        origin = Provenance(request.source, "", weights_sha256(folder), self.NAME, "float32")
        if kind == _AUTOENCODER:
            return _autoencoder(network, config, origin)
        return _u_net(network, config, origin, _scheduler(folder))


def _u_net(network: Any, config: str, origin: Provenance, scheduler: Mapping[str, Any]) -> Model:
    """A picture and a timestep in, the noise out."""
    said = network.config
    if said.in_channels != said.out_channels or said.class_embed_type is not None or said.num_class_embeds is not None:
        raise LilliputError(
            f"{origin.source!r} takes {said.in_channels} channels (or a class) and gives {said.out_channels}: a U-Net "
            "that gives the noise of a picture, and that alone, is read"
        )
    if (kind := scheduler.get("prediction_type", "epsilon")) != "epsilon":
        raise LilliputError(
            f"{origin.source!r} was trained to give {str(kind)[:30]!r}; those that give the noise are read"
        )
    size = said.sample_size or 32
    height, width = (size, size) if isinstance(size, int) else tuple(size)
    shape = ("batch", said.in_channels, height, width)
    guesses = _of_scheduler(scheduler)
    return Model(
        Module(_of_noise(network), config),
        "generation",
        (Port("sample", "float32", shape), Port("timestep", "int64", ("batch",))),
        (Port("noise", "float32", shape),),
        picture=_HALF,
        provenance=dataclasses.replace(origin, guesses=guesses),
    )


def _of_scheduler(said: Mapping[str, Any]) -> tuple[str, ...]:
    """What tasks have to be told of how it was trained."""
    if not said:
        return ("no scheduler_config.json: taken for trained on the linear schedule of 1,000 timesteps",)
    steps, named = said.get("num_train_timesteps", 1000), str(said.get("beta_schedule", "linear"))
    bounds = (said.get("beta_start", 1e-4), said.get("beta_end", 0.02))
    if named not in _SCHEDULES or (named == "linear" and bounds != (1e-4, 0.02)):
        return (
            f"its scheduler adds noise by {named[:30]!r}, {bounds}: tasks know the published linear and cosine ones",
        )
    if (steps, named) != (1000, "linear"):
        return (f"its scheduler: ask it with timesteps={steps}, schedule={_SCHEDULES[named]!r}",)
    return ()


def _autoencoder(network: Any, config: str, origin: Provenance) -> Model:
    """A picture and noise in, the picture made again and the code's mean and variance out."""
    import torch

    said = network.config
    size = said.sample_size or 32
    height, width = (size, size) if isinstance(size, int) else tuple(size)
    with torch.inference_mode():
        mean = network.encode(torch.zeros(1, said.in_channels, height, width)).latent_dist.mean
    picture, code = ("batch", said.in_channels, height, width), ("batch", *mean.shape[1:])
    return Model(
        Module(_of_code(network), config),
        "generation",
        (Port("picture", "float32", picture), Port("noise", "float32", code)),
        (
            Port("reconstruction", "float32", picture),
            Port("mean", "float32", code),
            Port("log_variance", "float32", code),
        ),
        picture=_HALF,
        provenance=origin,
    )


def _of_noise(network: Any) -> "torch.nn.Module":
    from torch import Tensor, nn

    class Noise(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, sample: Tensor, timestep: Tensor) -> Tensor:
            return self.network(sample, timestep, return_dict=False)[0]

    return Noise().eval()


def _of_code(network: Any) -> "torch.nn.Module":
    from torch import Tensor, nn

    class Code(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, picture: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            code = self.network.encode(picture).latent_dist
            made = self.network.decode(code.mean + code.std * noise, return_dict=False)[0]
            return made, code.mean, code.logvar

    return Code().eval()


def _scheduler(folder: Path) -> Mapping[str, Any]:
    """How noise was added in training, as it stands beside the network or in its pipeline; empty where it does not."""
    for path in (folder / "scheduler_config.json", folder.parent / "scheduler" / "scheduler_config.json"):
        if said := _json(path):
            return said
    return {}


def _json(path: Path) -> Mapping[str, Any]:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
