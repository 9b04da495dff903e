"""What generative models are judged on: torch's own losses, scipy's square root of a matrix, and known diffusions."""

import gzip
import math
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from lilliput.errors import LilliputError
from lilliput.models.compress import compress
from lilliput.models.diffusion import noised, sampled, signal
from lilliput.models.frechet import distance, distances, features, moments
from lilliput.models.images import Picture, read_pictures
from lilliput.models.load import load_model
from lilliput.models.model import Graph, Model, Module, Port
from lilliput.models.session import Session, open_session
from lilliput.models.task import parse_task

EXAMPLES = Path(__file__).parents[3] / "examples" / "models"
DIGITS = EXAMPLES / "digits.npz"
DIFFUSION = EXAMPLES / "diffusion.onnx"


def autoencoder(path: Path, *, size: int = 8, code: int = 3, seed: int = 0) -> Path:
    """One linear layer each way, with random weights."""
    rng = np.random.default_rng(seed)
    shapes = {"enc": (size * size, code), "var": (size * size, code), "dec": (code, size * size)}
    weights = [
        onnx.numpy_helper.from_array(rng.normal(0, 0.2, shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    half = onnx.numpy_helper.from_array(np.array(0.5, np.float32), "half")
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("MatMul", ["flat", "enc"], ["mean"]),
        helper.make_node("MatMul", ["flat", "var"], ["log_variance"]),
        helper.make_node("Mul", ["log_variance", "half"], ["lower"]),
        helper.make_node("Exp", ["lower"], ["spread"]),
        helper.make_node("Mul", ["spread", "noise"], ["away"]),
        helper.make_node("Add", ["mean", "away"], ["code"]),
        helper.make_node("MatMul", ["code", "dec"], ["logits"]),
    ]
    given = [("image", ["batch", 1, size, size]), ("noise", ["batch", code])]
    found = [("logits", ["batch", size * size]), ("mean", ["batch", code]), ("log_variance", ["batch", code])]
    graph = helper.make_graph(
        nodes,
        "autoencoder",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, axes) for name, axes in given],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, axes) for name, axes in found],
        [*weights, half],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_the_bound_of_an_autoencoder_is_that_of_a_plain_sum(tmp_path):
    model = load_model(str(autoencoder(tmp_path / "vae.onnx")), family="generation")
    task = parse_task(f"elbo(images={str(DIGITS)!r}, n=20)")
    values = task.ask(model, open_session(model)).values
    pictures = read_pictures(str(DIGITS), "held_out")
    chosen = (np.arange(20) * len(pictures)) // 20
    noise = np.random.default_rng(0).standard_normal((1, 20, 3)).astype(np.float32)[0]
    assert isinstance(model.network, Graph)
    stored = {one.name: onnx.numpy_helper.to_array(one) for one in model.network.proto.graph.initializer}
    for value, index, z in zip(values, chosen, noise, strict=True):
        x = pictures.pixels(int(index))[..., 0].reshape(-1) / 255
        mean, log_variance = x @ stored["enc"], x @ stored["var"]
        p = 1 / (1 + np.exp(-(mean + np.exp(log_variance / 2) * z) @ stored["dec"]))
        likelihood = np.sum(x * np.log(p) + (1 - x) * np.log(1 - p))
        divergence = sum((m**2 + math.exp(v) - 1 - v) / 2 for m, v in zip(mean, log_variance, strict=True))
        assert value == pytest.approx(likelihood - divergence, rel=1e-4)
    assert task.score(values) == pytest.approx(-values.mean())
    assert task.floor().values == pytest.approx(np.full(20, -64 * math.log(2)))
    small = compress(model, f"quantize(scheme='static', source={str(DIGITS)!r}, observations=20)")
    assert small.model_bytes < 0.5 * model.model_bytes  # though no node has a name, by which some are left out
    assert task.ask(small, open_session(small)).values.mean() == pytest.approx(values.mean(), rel=0.05)


def test_what_is_no_autoencoder_is_refused(tmp_path):
    model = load_model(str(DIFFUSION), family="generation")
    with pytest.raises(LilliputError, match="an autoencoder takes a picture and `noise`"):
        parse_task(f"elbo(images={str(DIGITS)!r}, n=20)").ask(model, open_session(model))
    model = load_model(str(autoencoder(tmp_path / "vae.onnx")), family="generation")
    with pytest.raises(LilliputError, match="one that denoises takes a picture and a timestep"):
        parse_task(f"denoising(images={str(DIGITS)!r}, n=20)").ask(model, open_session(model))
    large = load_model(str(autoencoder(tmp_path / "large.onnx", size=9)), family="generation")
    with pytest.raises(LilliputError, match="are 8 x 8 and the model takes 9 x 9"):
        parse_task(f"elbo(images={str(DIGITS)!r}, n=20)").ask(large, open_session(large))


class Exact(Session):
    """Knows the noise of a single picture: what an infinitely good model of it would say."""

    def __init__(self, picture, left):
        self.picture, self.left = picture, left

    def answer(self, feeds):
        here = self.left[feeds["timestep"].astype(int)].reshape(-1, 1, 1, 1)
        return {"noise": ((feeds["sample"] - np.sqrt(here) * self.picture) / np.sqrt(1 - here)).astype(np.float32)}


def test_a_perfect_model_finds_all_noise_and_makes_the_picture():
    left = signal(1000, "linear")
    picture = np.random.default_rng(0).uniform(-1, 1, (1, 1, 4, 4)).astype(np.float32)
    ports = (Port("sample", "float32", ("batch", 1, 4, 4)), Port("timestep", "float32", ("batch",)))
    model = Model(Graph(onnx.ModelProto()), "generation", ports, (Port("noise", "float32", ("batch", 1, 4, 4)),))
    noise = np.random.default_rng(1).standard_normal((3, 1, 4, 4)).astype(np.float32)
    made = sampled(model, Exact(picture, left), noise, steps=10, left=left, at_once=2)
    np.testing.assert_allclose(made, np.repeat(picture, 3, axis=0), atol=1e-4)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_a_schedule_goes_from_the_picture_to_noise(schedule):
    left = signal(1000, schedule)
    assert 0.999 < left[0] < 1
    assert left[-1] < 1e-4
    assert (np.diff(left) < 0).all()
    x = np.random.default_rng(0).standard_normal((4, 1, 9, 9)).astype(np.float32)
    assert noised(x, np.zeros_like(x), 1.0) == pytest.approx(x)


def test_the_linear_schedule_is_that_of_its_paper():
    torch = pytest.importorskip("torch")
    wanted = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0).numpy()
    assert signal(1000, "linear") == pytest.approx(wanted)


@pytest.mark.parametrize("seed", range(3))
def test_the_distance_is_that_of_scipys_square_root(seed):
    linalg = pytest.importorskip("scipy.linalg")
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(2, 12, 12))
    seen = [rng.normal(n * 0.3, 1, (200, 12)) @ mix for n, mix in enumerate(mixing)]
    means, covariances = [one.mean(axis=0) for one in seen], [np.cov(one.T) for one in seen]
    root = linalg.sqrtm(covariances[0] @ covariances[1])
    wanted = np.sum((means[0] - means[1]) ** 2) + np.trace(covariances[0] + covariances[1] - 2 * root.real)
    ours = distance(*(moments(one, np.ones(200)) for one in seen))
    assert ours == pytest.approx(wanted, rel=1e-6)
    # A weight of a draw counts a picture so many times.
    counts = rng.multinomial(200, np.full(200, 1 / 200), 2)
    repeated = [np.repeat(one, count, axis=0) for one, count in zip(seen, counts, strict=True)]
    weighted = distances(*seen, *(count[None].astype(float) for count in counts))[0]
    assert weighted == pytest.approx(distance(*(moments(one, np.ones(200)) for one in repeated)), rel=1e-9)


def test_equal_pictures_have_no_distance_and_pixels_are_averaged_down():
    images = np.repeat(np.random.default_rng(0).integers(0, 256, (30, 16, 16, 1)), 3, axis=3).astype(np.uint8)
    seen = features(images, "")
    assert seen.shape == (30, 64)
    assert seen[0, 0] == pytest.approx(images[0, :2, :2, 0].mean() / 255)
    both = moments(seen, np.ones(30))
    assert distance(both, both) == pytest.approx(0, abs=1e-5)


def test_the_small_diffusion_model_finds_noise_and_makes_digits():
    model = load_model(str(DIFFUSION), family="generation", picture="picture(mean=(0.5,), std=(0.5,))")
    denoising = parse_task(f"denoising(images={str(DIGITS)!r}, n=40, levels=4)")
    loss = denoising.score(denoising.ask(model, open_session(model)).values)
    assert loss < 0.35 * denoising.score(denoising.floor().values)
    static = compress(model, f"quantize(scheme='static', source={str(DIGITS)!r}, observations=60)")
    assert denoising.score(denoising.ask(static, open_session(static)).values) < loss + 0.1
    frechet = parse_task(f"frechet(images={str(DIGITS)!r}, samples=100, steps=8, draws=20)")
    values, floor = frechet.ask(model, open_session(model)).values, frechet.floor().values
    assert len(values) == 21
    assert frechet.score(values) < 0.5 * frechet.score(floor)
    assert (values > floor).all()


def test_idx_files_are_read_and_what_is_none_is_named(tmp_path):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (10, 5, 4)).astype(np.uint8), np.arange(10, dtype=np.uint8) % 3
    for name, array in (("a-images-idx3-ubyte.gz", images), ("a-labels-idx1-ubyte.gz", labels)):
        head = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
        (tmp_path / name).write_bytes(gzip.compress(head + array.tobytes()))
    found = read_pictures(str(tmp_path))
    assert (found.labels == labels).all()
    assert (found.pixels(7) == images[7][..., None]).all()
    gray = Picture(order="gray").seen(found.pixels(7), (5, 4))
    assert gray == pytest.approx(images[7][None] / 255)
    (tmp_path / "a-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes((0, 0, 8, 3)) + b"\xff" * 13))
    with pytest.raises(LilliputError, match="no idx file"):
        read_pictures(str(tmp_path))
    (tmp_path / "a-images-idx3-ubyte.gz").write_bytes(b"not gzip")
    with pytest.raises(LilliputError, match="cannot be read"):
        read_pictures(str(tmp_path))


FOLDER = os.environ.get("LILLIPUT_MODELS", "")


@pytest.mark.frameworks
@pytest.mark.skipif(not FOLDER, reason="LILLIPUT_MODELS is not set")
def test_the_vae_explains_mnist_as_well_as_torchs_own_loss_says():
    torch = pytest.importorskip("torch")
    module = f"python:{Path(__file__).parents[3]}/studies/saxena2024_networks.py:Vae"
    model = load_model(f"{FOLDER}/vae.pth", module=module, family="generation")
    task = parse_task('elbo(images="mnist", n=2000, part="whole")')
    values = task.ask(model, open_session(model)).values
    pictures = read_pictures("mnist")
    chosen = (np.arange(2000) * len(pictures)) // 2000
    x = torch.tensor(np.stack([pictures.pixels(int(n))[..., 0] for n in chosen]) / 255, dtype=torch.float32)
    assert isinstance(model.network, Module)
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 2000, 20)).astype(np.float32)[0])
    with torch.no_grad():
        logits, mean, log_variance = model.network.module(x[:, None], noise)
        lost = torch.nn.functional.binary_cross_entropy(logits.sigmoid(), x.flatten(1), reduction="none").sum(1)
        lost = lost - 0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(1)
    assert values == pytest.approx(-lost.numpy(), rel=1e-4)
    assert task.score(values) == pytest.approx(103.3, abs=0.2)
