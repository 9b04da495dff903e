"""Models of pictures by the names of their libraries: what is read is what the library itself answers."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from lilliput.errors import LilliputError, MissingDependency
from lilliput.models.decoders import DECODERS
from lilliput.models.graph import as_graph
from lilliput.models.images import Picture
from lilliput.models.load import load_model
from lilliput.models.model import Module
from lilliput.models.session import open_session
from lilliput.models.task import parse_task

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.frameworks

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


def imported(name):
    """The library; skipped, with the reason, where it is not here or does not import beside this torch."""
    from lilliput.models.library import library

    try:
        return library(name)
    except MissingDependency as error:
        pytest.skip(str(error))


def answered(model, feeds):
    """What the graph of the model answers, which is what is compressed and measured."""
    return open_session(as_graph(model)).answer(feeds)


@pytest.fixture
def some():
    return np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)


def test_a_classifier_of_transformers_answers_as_it_does_there(tmp_path, some):
    config = transformers.ViTConfig(image_size=32, patch_size=8, num_labels=5, **SMALL)
    network = transformers.ViTForImageClassification(config).eval()
    network.save_pretrained(tmp_path)
    said = {"size": {"height": 32, "width": 32}, "resample": 3, "image_mean": [0.4] * 3, "image_std": [0.2] * 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    found = load_model(str(tmp_path))
    assert (found.family, found.provenance.guesses) == ("classification", ())
    assert found.picture == Picture(size=32, fit="stretch", filter="bicubic", mean=(0.4,) * 3, std=(0.2,) * 3)
    with torch.inference_mode():
        wanted = network(torch.from_numpy(some)).logits.numpy()
    np.testing.assert_allclose(answered(found, {"pixel_values": some})["logits"], wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("said", "resize", "size"),
    [
        ({"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}}, 36 / 32, 32),
        ({"size": {"shortest_edge": 32}, "crop_pct": 0.8}, 1 / 0.8, 32),
        ({"size": 40, "crop_size": 32}, 40 / 32, 32),
    ],
)
def test_a_crop_is_that_of_the_preprocessor(tmp_path, said, resize, size):
    transformers.ResNetForImageClassification(
        transformers.ResNetConfig(embedding_size=4, hidden_sizes=[4], depths=[1], num_labels=3)
    ).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    picture = load_model(str(tmp_path)).picture
    assert picture is not None
    assert (picture.fit, picture.size) == ("crop", size)
    assert picture.resize == pytest.approx(resize)


def test_of_coco_s_91_numbers_the_80_with_a_name_are_counted():
    logits = np.full((2, 92), -9.0)
    logits[0, 1], logits[1, 90] = 9, 9  # person and toothbrush, the first and the last
    found, n_classes = DECODERS["yolos"].decode([np.full((2, 4), 0.5), logits], (32, 32))
    assert n_classes == 80
    assert found.classes.tolist() == [0, 79]
    with pytest.raises(LilliputError, match="YOLOS and DETRs give the logits and the box of each query"):
        DECODERS["yolos"].decode([np.zeros((85, 22, 22))], (32, 32))
    with pytest.raises(LilliputError, match="FastestDet gives channels"):
        DECODERS["fastestdet"].decode([np.zeros((9, 4))], (32, 32))


@pytest.fixture(scope="module")
def diffusers():
    return imported("diffusers")


def test_a_u_net_finds_the_noise_that_diffusers_finds(diffusers, tmp_path, some):
    small = {"block_out_channels": (8, 8), "norm_num_groups": 4, "layers_per_block": 1, "attention_head_dim": 4}
    kinds = {"down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D")}
    network = diffusers.UNet2DModel(sample_size=32, **small, **kinds).eval()
    network.save_pretrained(tmp_path / "whole" / "unet")
    diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2").save_pretrained(tmp_path / "whole" / "scheduler")
    found = load_model(str(tmp_path / "whole" / "unet"))
    assert "schedule='cosine'" in found.provenance.guesses[0]
    when = np.array([3, 3], np.int64)
    with torch.inference_mode():
        wanted = network(torch.from_numpy(some), torch.from_numpy(when)).sample.numpy()
    given = answered(found, {"sample": some, "timestep": when})["noise"]
    np.testing.assert_allclose(given, wanted, atol=1e-4)
    (tmp_path / "whole" / "model_index.json").write_text("{}")
    with pytest.raises(LilliputError, match="a whole pipeline; name a network in it"):
        load_model(str(tmp_path / "whole"))


def test_an_autoencoder_of_diffusers_has_a_bound(diffusers, tmp_path):
    network = diffusers.AutoencoderKL(
        block_out_channels=(8,), norm_num_groups=4, latent_channels=2, sample_size=16
    ).eval()
    network.save_pretrained(tmp_path / "vae")
    found = load_model(str(tmp_path / "vae"))
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
    np.savez(tmp_path / "some.npz", images=images, labels=np.zeros(6, np.int64), names=np.array(["all"]))
    task = parse_task(f"elbo(images={str(tmp_path / 'some.npz')!r}, part='whole', likelihood='gaussian')")
    values = task.ask(found, open_session(as_graph(found))).values
    noise = np.random.default_rng(0).standard_normal((1, 6, 2, 16, 16)).astype(np.float32)[0]
    x = torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1)
    with torch.inference_mode():
        code = network.encode(x).latent_dist
        made = network.decode(code.mean + code.std * torch.from_numpy(noise)).sample
        likelihood = torch.distributions.Normal(made, 0.1).log_prob(x).sum(dim=(1, 2, 3))
    np.testing.assert_allclose(values, (likelihood - code.kl()).numpy(), rtol=1e-4)
    even = torch.distributions.Normal(0.0, 0.1).log_prob(x).sum(dim=(1, 2, 3)).numpy()
    np.testing.assert_allclose(task.floor().values, even, rtol=1e-5)


def test_timm_s_networks_are_made_by_name_and_their_weights_come_from_the_hub(tmp_path, monkeypatch, some):
    timm = imported("timm")
    network = timm.create_model("resnet10t", num_classes=4).eval()
    save_file({name: one.numpy() for name, one in network.state_dict().items()}, tmp_path / "own.safetensors")
    found = load_model(str(tmp_path / "own.safetensors"), module="timm:resnet10t(num_classes=4)")
    with torch.inference_mode():
        wanted = network(torch.from_numpy(some)).numpy()
    session = open_session(found)
    np.testing.assert_allclose(session.answer({"pixel_values": some})["logits"], wanted, atol=1e-4)
    assert found.picture is not None
    assert found.picture.mean == pytest.approx(timm.get_pretrained_cfg("resnet10t").mean)
    with pytest.raises(LilliputError, match="do not fit timm:resnet10t"):
        load_model(str(tmp_path / "own.safetensors"), module="timm:resnet10t")
    with pytest.raises(LilliputError, match="has no network 'resnet10q'; did you mean resnet"):
        load_model("timm:resnet10q")
    commit = "0123456789abcdef0123456789abcdef01234567"
    configured = timm.create_model("resnet10t").pretrained_cfg
    where = tmp_path / f"models--timm--resnet10t.{configured['tag']}"
    (where / "refs").mkdir(parents=True)
    (where / "refs" / "main").write_text(commit)
    (where / "snapshots" / commit).mkdir(parents=True)
    whole = timm.create_model("resnet10t").state_dict()
    save_file({n: one.numpy() for n, one in whole.items()}, where / "snapshots" / commit / "model.safetensors")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    published = load_model("timm:resnet10t")
    assert (published.provenance.source, published.provenance.revision) == ("timm:resnet10t", commit)
    assert f"pin it as timm:resnet10t@{commit}" in published.provenance.guesses[-1]
    assert load_model(f"timm:resnet10t@{commit}").provenance.guesses == ()


def test_torchvision_s_networks_are_made_by_name_with_weights_by_theirs(tmp_path, monkeypatch, some):
    vision = imported("torchvision").models
    network = vision.resnet18().eval()
    weights = vision.ResNet18_Weights.IMAGENET1K_V1
    (tmp_path / "checkpoints").mkdir()
    torch.save(network.state_dict(), tmp_path / "checkpoints" / weights.url.rsplit("/", 1)[-1])
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    found = load_model("torchvision:resnet18@IMAGENET1K_V1")
    assert (found.provenance.revision, found.provenance.guesses) == ("IMAGENET1K_V1", ())
    assert found.picture == Picture(size=224, resize=256 / 224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    with torch.inference_mode():
        wanted = network(torch.from_numpy(some)).numpy()
    np.testing.assert_allclose(open_session(found).answer({"pixel_values": some})["logits"], wanted, atol=1e-4)
    assert "pin them as torchvision:resnet18@IMAGENET1K_V1" in load_model("torchvision:resnet18").provenance.guesses[0]
    with pytest.raises(LilliputError, match="no weights 'V9' of resnet18; it has: IMAGENET1K_V1"):
        load_model("torchvision:resnet18@V9")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(LilliputError, match="was not fetched before, and HF_HUB_OFFLINE forbids"):
        load_model("torchvision:resnet34")


def test_a_library_that_does_not_import_is_said_with_what_to_install():
    for source in ("timm:resnet18", "torchvision:resnet18"):
        try:
            __import__(source.partition(":")[0])
        except (ImportError, RuntimeError):
            with pytest.raises(MissingDependency, match=r"cannot be imported .*pip install (timm|torchvision)"):
                load_model(source)


@pytest.mark.parametrize(
    ("config", "files", "message"),
    [
        ({"architectures": ["ViTForImageClassification"]}, ["pytorch_model.bin"], "a pickle, which"),
        ({"architectures": ["X"], "auto_map": {"AutoConfig": "x.X", "AutoModelForCausalLM": "x.Y"}},
         ["model.safetensors", "tokenizer.json"], "code of its own, which is never run"),
        ({"_class_name": "Unet3D"}, ["x.safetensors"], "is Unet3D; of diffusers are read: UNet2DModel, AutoencoderKL"),
        ({"_class_name": "UNet2DModel"}, ["x.ckpt"], "it holds x.ckpt, a pickle"),
    ],
)  # fmt: skip
def test_what_would_have_to_be_executed_is_refused(tmp_path, config, files, message):
    (tmp_path / "config.json").write_text(json.dumps(config))
    for name in files:
        (tmp_path / name).write_bytes(b"{}")
    (tmp_path / "x.py").write_text("raise SystemExit('never run')")
    with pytest.raises(LilliputError, match=message):
        load_model(str(tmp_path))


def test_a_pickle_is_named_by_what_it_asks_for(tmp_path):
    import collections

    torch.save({"weight": torch.zeros(2), "when": collections.deque([1])}, tmp_path / "weights.pth")
    function = tmp_path / "network.py"
    function.write_text(
        "import torch\ndef made():\n    one = torch.nn.Linear(2, 1)\n    one.input_shape = (2,)\n    return one\n"
    )
    with pytest.raises(LilliputError, match=r"is a pickle that asks for collections\.deque: it would have to be exec"):
        load_model(str(tmp_path / "weights.pth"), module=f"python:{function}:made")
    (tmp_path / "weights.pth").write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(LilliputError, match="cannot be read as weights alone"):
        load_model(str(tmp_path / "weights.pth"), module=f"python:{function}:made")
    with pytest.raises(LilliputError, match=r"write python:package\.module:function, python:FILE"):
        load_model(str(tmp_path / "weights.pth"), module="keras:x")
    torch.save(torch.nn.Linear(2, 1).state_dict(), tmp_path / "good.pth")
    found = load_model(str(tmp_path / "good.pth"), module=f"python:{function}:made")
    assert isinstance(found.network, Module)
    assert "taken for a classifier" in found.provenance.guesses[0]
    (tmp_path / "good.safetensors").write_bytes(b"\xff" * 40)
    with pytest.raises(LilliputError, match="cannot be read as weights alone"):
        load_model(str(tmp_path / "good.safetensors"), module=f"python:{function}:made")
