"""Trains the small models of pictures in examples/models/ on scikit-learn's digits, some minutes each on a core.

    pip install -c constraints.txt -e '.[language]' scikit-learn
    python examples/train_example_vision_models.py classifier
    python examples/train_example_vision_models.py detector
    python examples/train_example_vision_models.py diffusion

Every third digit is left for judging (digits.npz), and scenes of such digits with it (scenes.npz).
"""

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits  # type: ignore[import] # for this script alone
from torch import Tensor, nn
from torch.nn import functional

FOLDER = Path(__file__).parent / "models"
SCENE = 48
CELLS = 12


def digits(*, held_out: bool) -> tuple[np.ndarray, np.ndarray]:
    """Images (uint8, 8 x 8) with their labels."""
    found = load_digits()
    chosen = (np.arange(len(found.target)) % 3 == 0) == held_out
    return np.rint(found.images[chosen] * (255 / 16)).astype(np.uint8), found.target[chosen]


def layer(before: int, after: int, stride: int = 1) -> nn.Sequential:
    """A convolution with its normalization, which goes into it on export."""
    return nn.Sequential(nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU())


class Classifier(nn.Module):
    """Which digit it is."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(layer(1, 16), layer(16, 32, 2), layer(32, 32), layer(32, 64, 2))
        self.last = nn.Linear(64, 10)

    def forward(self, image: Tensor) -> Tensor:
        return self.last(self.layers(image).mean((2, 3)))


class Detector(nn.Module):
    """Of each cell of a grid: whether a digit's middle is in it, where the digit is, and which."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(layer(1, 16, 2), layer(16, 32), layer(32, 32, 2), layer(32, 48), layer(48, 48))
        self.head = nn.Conv2d(48, 15, 1)

    def raw(self, image: Tensor) -> Tensor:
        return self.head(self.layers(image))

    def forward(self, image: Tensor) -> Tensor:
        found = self.raw(image)
        sure, middle, size, kind = found.split((1, 2, 2, 10), 1)
        # FastestDet's layout: tanh of the middle and sigmoid of the size are taken where boxes are read.
        return torch.cat((sure.sigmoid(), middle, size, kind.softmax(1)), 1)


class Unet(nn.Module):
    """The noise in a digit at a time from 0 to 999."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.times = nn.Sequential(nn.Linear(16, 64), nn.SiLU(), nn.Linear(64, 2 * width))
        self.first = nn.Conv2d(1, width, 3, 1, 1)
        self.down = nn.Conv2d(width, 2 * width, 3, 2, 1)
        self.inside = nn.Conv2d(2 * width, 2 * width, 3, 1, 1)
        self.up = nn.Conv2d(2 * width, width, 3, 1, 1)
        self.join = nn.Conv2d(2 * width, width, 3, 1, 1)
        self.last = nn.Conv2d(width, 1, 3, 1, 1)

    def forward(self, sample: Tensor, timestep: Tensor) -> Tensor:
        angle = timestep[:, None] * torch.exp(torch.arange(8) * (-math.log(1000) / 7))[None]
        time = self.times(torch.cat((angle.sin(), angle.cos()), 1))[..., None, None]
        high = functional.silu(self.first(sample))
        low = functional.silu(self.down(high) + time)
        low = functional.silu(self.inside(low)) + low
        up = functional.silu(self.up(functional.interpolate(low, scale_factor=2.0)))
        return self.last(functional.silu(self.join(torch.cat((high, up), 1))))


def shifted(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The images, each moved by up to a pixel."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    at = rng.integers(0, 3, (len(images), 2))
    return np.stack([one[y : y + 8, x : x + 8] for one, (y, x) in zip(padded, at, strict=True)])


def scene(images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Up to five digits, one to three times as large, that do not overlap; with class and box of each."""
    pixels = rng.integers(0, 40, (SCENE, SCENE)).astype(np.uint8)
    boxes: list[tuple[float, ...]] = []
    for _ in range(rng.integers(1, 6)):
        pick, scale = rng.integers(len(images)), int(rng.integers(1, 4))
        size = 8 * scale
        x, y = rng.integers(0, SCENE - size + 1, 2)
        if any(
            abs(x + size / 2 - b[1]) < (size + b[3]) / 2 and abs(y + size / 2 - b[2]) < (size + b[4]) / 2 for b in boxes
        ):
            continue
        large = np.kron(images[pick], np.ones((scale, scale), np.uint8))
        pixels[y : y + size, x : x + size] = np.maximum(pixels[y : y + size, x : x + size], large)
        boxes.append((labels[pick], x + size / 2, y + size / 2, size, size))
    return pixels, np.array(boxes) / (1, SCENE, SCENE, SCENE, SCENE)


def steps(module: nn.Module, n: int, rate: float) -> "torch.optim.lr_scheduler.OneCycleLR":
    """The optimizer of a training, with its learning rate."""
    optimizer = torch.optim.AdamW(module.parameters(), rate, weight_decay=1e-3)
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, n)


def step(loss: Tensor, schedule: "torch.optim.lr_scheduler.OneCycleLR", number: int) -> None:
    """One step of a training."""
    schedule.optimizer.zero_grad()
    loss.backward()
    schedule.optimizer.step()
    schedule.step()
    if number % 200 == 199:
        print(f"step {number + 1}: {loss.item():.4f}", flush=True)


def train_classifier(n: int) -> nn.Module:
    """Cross entropy on digits that are moved."""
    images, labels = digits(held_out=False)
    module, rng = Classifier(), np.random.default_rng(0)
    schedule = steps(module, n, 3e-3)
    for number in range(n):
        some = rng.integers(0, len(images), 64)
        x = torch.from_numpy(shifted(images[some], rng).astype(np.float32) / 255)[:, None]
        step(functional.cross_entropy(module(x), torch.from_numpy(labels[some])), schedule, number)
    return module


def train_detector(n: int) -> nn.Module:
    """Objectness everywhere, box and class where a digit is."""
    images, labels = digits(held_out=False)
    module, rng = Detector(), np.random.default_rng(0)
    schedule = steps(module, n, 3e-3)
    for number in range(n):
        made = [scene(images, labels, rng) for _ in range(32)]
        x = torch.from_numpy(np.stack([pixels for pixels, _ in made]).astype(np.float32) / 255)[:, None]
        found = module.raw(x).permute(0, 2, 3, 1)
        there = torch.zeros(found.shape[:3])
        rows = np.concatenate([np.column_stack((np.full(len(boxes), at), boxes)) for at, (_, boxes) in enumerate(made)])
        cell = (rows[:, 2:4] * CELLS).astype(int)
        at = (rows[:, 0].astype(int), cell[:, 1], cell[:, 0])
        there[at] = 1.0
        own, wanted = found[at], torch.from_numpy(rows).float()
        box = (own[:, 1:3].tanh() - (wanted[:, 2:4] * CELLS - torch.from_numpy(cell))).abs().mean()
        box = box + 4 * (own[:, 3:5].sigmoid() - wanted[:, 4:6]).abs().mean()
        loss = 10 * functional.binary_cross_entropy_with_logits(found[..., 0], there) + box
        step(loss + functional.cross_entropy(own[:, 5:], wanted[:, 1].long()), schedule, number)
    return module


def train_diffusion(n: int) -> nn.Module:
    """The noise at random times; the weights are the mean of the last ones."""
    images, _ = digits(held_out=False)
    clean = torch.from_numpy(images.astype(np.float32) / 127.5 - 1)[:, None]
    module = Unet()
    mean = torch.optim.swa_utils.AveragedModel(module, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.995))
    schedule, left = steps(module, n, 2e-3), torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), 0)
    for number in range(n):
        x, time = clean[torch.randint(len(clean), (64,))], torch.randint(1000, (64,))
        noise, part = torch.randn_like(x), left[time][:, None, None, None]
        found = module(part.sqrt() * x + (1 - part).sqrt() * noise, time.float())
        step(functional.mse_loss(found, noise), schedule, number)
        mean.update_parameters(module)
    return mean.module


def save(module: nn.Module, name: str, shapes: dict[str, tuple[int, ...]]) -> None:
    """Write the graph."""
    names = [*shapes, "output"]
    torch.onnx.export(
        module.eval(), tuple(torch.zeros(1, *shape) for shape in shapes.values()), str(FOLDER / f"{name}.onnx"),
        input_names=names[:-1], output_names=names[-1:], dynamic_axes={one: {0: "batch"} for one in names},
        opset_version=17, dynamo=False,
    )  # fmt: skip
    print(f"{sum(one.numel() for one in module.parameters()):,} parameters in {FOLDER / name}.onnx")


def main() -> None:
    """Trains and saves."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("model", choices=["classifier", "detector", "diffusion"])
    arguments.add_argument("--steps", type=int)
    given = arguments.parse_args()
    torch.manual_seed(0)
    if given.model == "classifier":
        save(train_classifier(given.steps or 2000), "classifier", {"image": (1, 8, 8)})
        images, labels = digits(held_out=True)
        np.savez_compressed(FOLDER / "digits.npz", images=images, labels=labels, names=np.arange(10).astype(str))
    elif given.model == "detector":
        save(train_detector(given.steps or 800), "detector", {"image": (1, SCENE, SCENE)})
        images, labels = digits(held_out=True)
        rng = np.random.default_rng(1)
        made = [scene(images, labels, rng) for _ in range(150)]
        rows = [np.column_stack((np.full(len(boxes), at), boxes)) for at, (_, boxes) in enumerate(made)]
        pixels = np.stack([one for one, _ in made])
        np.savez_compressed(FOLDER / "scenes.npz", images=pixels, boxes=np.concatenate(rows))
    else:
        save(train_diffusion(given.steps or 1500), "diffusion", {"sample": (1, 8, 8), "timestep": ()})


if __name__ == "__main__":
    main()
