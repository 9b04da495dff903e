"""Pictures and their classifiers: read, judged, compressed on the graph, exported; nothing here needs torch."""

import io
import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from PIL import Image
from tests.models.pictures import N_CLASSES, classifier, pictures

from lilliput.cli import cli
from lilliput.errors import LilliputError, NotApplicable
from lilliput.models.compress import check as check_recipe
from lilliput.models.compress import compress, parse
from lilliput.models.export import check, export, open_artifact, read_artifact
from lilliput.models.images import Picture, parse_picture, read_pictures
from lilliput.models.load import load_model
from lilliput.models.model import weights
from lilliput.models.picture import size_of
from lilliput.models.session import open_session
from lilliput.models.task import format_task, parse_task


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vision")
    graph = classifier(folder / "model.onnx")
    return graph, pictures(folder / "pictures.npz", graph)


@pytest.fixture(scope="module")
def model(made):
    return load_model(str(made[0]))


def accuracy(model, data, **arguments):
    task = parse_task(f"classification(images={str(data)!r}{''.join(f', {k}={v!r}' for k, v in arguments.items())})")
    return task.score(task.ask(model, open_session(model)).values)


def test_a_classifier_names_the_classes_that_onnxruntime_does(made, model):
    assert accuracy(model, made[1], part="whole") == 1.0
    assert accuracy(model, made[1]) == 1.0
    task = parse_task(f"classification(images={str(made[1])!r})")
    assert task.floor().values == pytest.approx(1 / N_CLASSES)
    assert format_task(task) == f"classification(images={str(made[1])!r})".replace("'", '"')


@pytest.mark.parametrize(
    "recipe", ["quantize()", "quantize(scheme='static', source={data!r}, observations=6)", "half()"]
)
def test_a_recipe_makes_the_graph_smaller_and_keeps_most_answers(made, model, recipe, tmp_path):
    small = compress(model, recipe.format(data=str(made[1])))
    assert small.model_bytes < model.model_bytes
    assert accuracy(small, made[1]) > 0.85
    export(small, "onnx", tmp_path / "out")
    assert check(tmp_path / "out") < 1e-3
    image = np.random.default_rng(3).random((5, 3, 8, 8)).astype(np.float32)
    ours = open_artifact(tmp_path / "out").answer({"image": image})["logits"]
    np.testing.assert_allclose(ours, open_session(small).answer({"image": image})["logits"], atol=1e-3)


def test_a_graph_of_old_operators_is_quantized_with_a_scale_for_each_output(made, tmp_path):
    old = load_model(str(classifier(tmp_path / "old.onnx", opset=11)))
    small = compress(old, f"quantize(scheme='static', source={str(made[1])!r}, observations=6)")
    assert accuracy(small, made[1]) > 0.85
    scales = [array for name, array in weights(small) if name == "kernel_scale"]
    assert [scale.shape for scale in scales] == [(16,)]


def test_pruned_weights_stay_zero_through_quantization(made, model):
    pruned = compress(model, "prune_weights(sparsity=0.5)")
    half_gone = {name: array == 0 for name, array in weights(pruned) if name in ("kernel", "linear")}
    assert {name: zero.mean() for name, zero in half_gone.items()} == {"kernel": 0.5, "linear": 0.5}
    both = compress(pruned, f"quantize(scheme='static', source={str(made[1])!r}, observations=6)")
    stored = {name: array for name, array in weights(both) if array.dtype == np.int8 and array.ndim > 1}
    assert sorted(array.size for array in stored.values()) == [16 * N_CLASSES, 16 * 27]
    for array in stored.values():
        assert (array == 0).mean() >= 0.5
    # Stored again as a mask and what is left, it takes fewer bytes.
    dense = compress(model, f"quantize(scheme='static', source={str(made[1])!r}, observations=6)")
    assert both.model_bytes < dense.model_bytes
    with pytest.raises(NotApplicable):
        compress(pruned, "prune_weights(sparsity=0.5)")


def test_a_pattern_that_does_not_divide_a_layer_is_refused(model):
    with pytest.raises(LilliputError, match="27 inputs"):
        compress(model, 'prune_weights(sparsity=0.5, pattern="2:4")')


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("quantize(weight_bits=4)", 'scheme="weight_only" has 8 or 4'),
        ("quantize(method='gptq', source='c4')", "for language models"),
        ("quantize(scheme='static', source={data!r}, observations=6) | half()", "leave half out"),
        ("quantize() | quantize()", "quantized already"),
        ("quantize() | prune_units(ratio=0.5)", "prune_units before quantize"),
        ("quantize() | finetune(steps=1, source={data!r})", r"write finetune\(...\) \| quantize"),
        ("quantize(scheme='static')", "need pictures"),
        ("prune_weights(sparsity=0.5, importance='wanda', source='c4')", "for language models"),
    ],
)
def test_what_a_graph_cannot_have_is_refused(made, model, recipe, message):
    if "finetune" in recipe:
        pytest.importorskip("torch", reason="needs the extra vision")
    with pytest.raises(LilliputError, match=message):
        compress(model, recipe.format(data=str(made[1])))


def test_pictures_that_calibrate_never_judge(made):
    both = [set(read_pictures(str(made[1]), part).names) for part in ("calibration", "held_out")]
    assert not both[0] & both[1]
    assert len(both[0] | both[1]) == 60
    with pytest.raises(LilliputError, match="judged on what it was calibrated on"):
        parse_task(f"classification(images={str(made[1])!r}, part='whole')").check_source(str(made[1]))


def test_copies_in_an_npz_of_pictures_in_a_folder_never_judge(tmp_path):
    """Neither way round, and other pictures of the same size do."""
    rng = np.random.default_rng(0)
    shown = rng.integers(0, 256, (10, 6, 9, 3)).astype(np.uint8)
    for n, one in enumerate(shown):
        (folder := tmp_path / "folder" / f"class {n % 2}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(one).save(folder / f"{n}.png")
    (tmp_path / "folder" / "class 0" / "other.png").write_bytes(picture_bytes(np.zeros((3, 4, 3), np.uint8)))
    for name, images in (("same", shown), ("others", 255 - shown)):
        np.savez(tmp_path / f"{name}.npz", images=images, labels=np.arange(10) % 2, names=["class 0", "class 1"])
    same, others, folder = (str(tmp_path / name) for name in ("same.npz", "others.npz", "folder"))
    for judging, calibrating in ((same, folder), (folder, same)):
        with pytest.raises(LilliputError, match="judged on what it was calibrated on"):
            parse_task(f"classification(images={judging!r}, part='whole')").check_source(calibrating)
    parse_task(f"classification(images={others!r}, part='whole')").check_source(folder)
    parse_task(f"classification(images={folder!r}, part='whole')").check_source(others)


def picture_bytes(pixels):
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


def test_a_graph_that_cannot_be_trained_is_refused_before_anything_runs(tmp_path):
    """By its operators, and by what they are told."""
    pytest.importorskip("torch")  # finetune trains by it
    for change, wanted in ((("Relu", "Softsign"), "finetune: the graph has Softsign"), (None, "rounds up")):
        proto = onnx.load(classifier(tmp_path / "model.onnx"))
        for node in proto.graph.node:
            if change and node.op_type == change[0]:
                node.op_type = change[1]
            if not change and node.op_type == "Relu":
                node.CopyFrom(onnx.helper.make_node("AveragePool", node.input, node.output, kernel_shape=[1, 1],
                                                    ceil_mode=1))  # fmt: skip
        onnx.save(proto, tmp_path / "model.onnx")
        with pytest.raises(LilliputError, match=wanted):
            check_recipe(load_model(str(tmp_path / "model.onnx")), parse("finetune(steps=1, source='nowhere')"))


def test_a_folder_of_pictures_has_a_folder_for_each_class(tmp_path):
    rng = np.random.default_rng(0)
    shown = {}
    for kind in ("cat", "dog"):
        (tmp_path / kind).mkdir()
        for n in range(2):
            shown[f"{kind}/{n}.png"] = rng.integers(0, 256, (6, 9, 3)).astype(np.uint8)
            Image.fromarray(shown[f"{kind}/{n}.png"]).save(tmp_path / kind / f"{n}.png")
    found = read_pictures(str(tmp_path))
    assert found.classes == ("cat", "dog")
    assert found.labels.tolist() == [0, 0, 1, 1]
    for index, name in enumerate(found.names):
        np.testing.assert_array_equal(found.pixels(index), shown[name])
    (tmp_path / "dog" / "0.png").write_bytes(b"not a picture")
    with pytest.raises(LilliputError, match=r"'0.png' is no picture"):
        found.pixels(2)


def test_a_picture_is_resized_cropped_and_standardized_as_is_usual():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    picture = Picture(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), resize=1.25, order="bgr")
    seen = picture.seen(pixels, (16, 16))
    resized = np.asarray(Image.fromarray(pixels).resize((30, 20), Image.Resampling.BILINEAR))[2:18, 7:23]
    wanted = (resized / 255 - [0.5, 0.4, 0.3]) / [0.2, 0.3, 0.4]
    np.testing.assert_allclose(seen, wanted[..., ::-1].transpose(2, 0, 1), atol=1e-5)


def test_damaged_or_unlabelled_pictures_are_one_line(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 cut")
    np.savez(tmp_path / "b.npz", images=np.zeros((2, 4, 4, 3), np.float32), labels=np.zeros(2, int))
    (tmp_path / "empty").mkdir()
    for name, message in (
        ("a.npz", "no folder of pictures"),
        ("b.npz", "uint8"),
        ("empty", "one folder for each class"),
    ):
        with pytest.raises(LilliputError, match=message) as caught:
            read_pictures(str(tmp_path / name))
        assert "\n" not in str(caught.value)


def test_a_graph_that_is_none_is_one_line(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"\x08\x07 not a graph")
    with pytest.raises(LilliputError, match="is no ONNX graph"):
        load_model(str(tmp_path / "model.onnx"))


PRUNED = "prune_weights(sparsity=0.5)"


def test_compare_judges_a_model_on_a_task(made, tmp_path):
    task = f"classification(images={str(made[1])!r})"
    command = [
        "compare",
        str(made[0]),
        "--task",
        task,
        "--picture",
        "picture(size=8)",
        "-r",
        "quantize()",
        "-r",
        PRUNED,
    ]
    result = CliRunner().invoke(cli, [*command, "-o", str(tmp_path / "out"), "--json"], catch_exceptions=False)
    found = json.loads(result.stdout)
    assert [row["recipe"] for row in found["rows"]] == ["", "quantize()", PRUNED]
    pruned = found["rows"][-1]
    figures = dict(pruned["figures"])
    assert figures["pruned_still_zero"] == 1.0
    assert figures["zipped_bytes"] < dict(found["rows"][0]["figures"])["zipped_bytes"]
    assert 0 <= figures["flips"] <= 1 - pruned["mean_value"] + 0.01
    assert any("pruned, and the file is not smaller" in line for line in found["remarks"])
    assert all(row["latency"]["p50"] > 0 and row["latency"]["ratio"] > 0 for row in found["rows"])
    assert all(row["peak_memory_bytes"] > 1e7 and row["memory_bytes"] is not None for row in found["rows"])
    assert found["guesses"] == []  # its task says what it answers to
    again = CliRunner().invoke(cli, [*command, "-o", str(tmp_path / "out"), "--json"], catch_exceptions=False)
    assert json.loads(again.stdout)["rows"] == found["rows"]
    (artifact,) = [one for one in (tmp_path / "out" / "artifacts").iterdir() if check(one) >= 0][:1]
    assert read_artifact(artifact).picture == Picture(size=8)
    refused = CliRunner().invoke(
        cli, [*command[:2], "-r", "half()", "--picture", "picture()", "-o", str(tmp_path / "no")]
    )
    assert "name one" in str(refused.exception)


def test_a_picture_is_one_call_of_its_name():
    assert parse_picture("picture(size=32, order='bgr')") == Picture(size=32, order="bgr")
    for text in ("image()", "picture(size='large')", "picture() | picture()", "picture(std=(0.0, 1.0, 1.0))"):
        with pytest.raises(LilliputError):
            parse_picture(text)


FOLDER = os.environ.get("LILLIPUT_MODELS", "")


@pytest.mark.slow
@pytest.mark.skipif(not FOLDER, reason="LILLIPUT_MODELS is not set")
def test_resnet_20_names_as_many_classes_as_its_readme_says(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    import dataclasses
    import sys

    (tmp_path / "resnet20_net.py").write_text(RESNET)
    monkeypatch.syspath_prepend(str(tmp_path))
    model = load_model(str(Path(FOLDER) / "resnet20.th"), module="python:resnet20_net:make")
    sys.modules.pop("resnet20_net")
    model = dataclasses.replace(model, picture=Picture(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)))
    assert size_of(model) == (32, 32)
    data = str(Path(FOLDER) / "cifar10-test-2000.npz")
    assert accuracy(model, data, part="whole") == 0.8135
    static = compress(model, f"quantize(scheme='static', source={data!r}, observations=200)")
    assert accuracy(static, data) > 0.79
    assert model.model_bytes / static.model_bytes > 3.5
    assert torch is not None


RESNET = """
from torch import nn
from torch.nn import functional

class Block(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o)
        self.conv2, self.bn2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
        self.stride, self.more = stride, (o - i) // 2
    def forward(self, x):
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        if self.stride > 1:
            x = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.more, self.more))
        return functional.relu(x + y)

class Net(nn.Module):
    input_shape = (3, 32, 32)
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        for n, (i, o, stride) in enumerate(((16, 16, 1), (16, 32, 2), (32, 64, 2)), 1):
            setattr(self, f"layer{n}", nn.Sequential(Block(i, o, stride), Block(o, o, 1), Block(o, o, 1)))
        self.linear = nn.Linear(64, 10)
    def forward(self, x):
        x = functional.relu(self.bn1(self.conv1(x)))
        return self.linear(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))

def make():
    return Net()
"""


def test_gray_of_16_bits_keeps_its_brightness_and_32_bits_are_refused(tmp_path):
    Image = pytest.importorskip("PIL.Image")
    deep = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    for kind in ("a", "b"):
        (tmp_path / kind).mkdir()
        Image.fromarray(deep).save(tmp_path / kind / "x.png")
    read = read_pictures(str(tmp_path)).pixels(0)
    assert np.array_equal(read[..., 1], deep // 256)
    Image.fromarray(deep.astype(np.int32)).save(tmp_path / "a" / "x.tif")
    with pytest.raises(LilliputError, match=r"'x\.tif' has 32 bits a pixel"):
        read_pictures(str(tmp_path)).pixels(1)


def test_a_picture_of_too_many_pixels_is_one_line(tmp_path, monkeypatch):
    Image = pytest.importorskip("PIL.Image")
    (tmp_path / "a").mkdir()
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(tmp_path / "a" / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(LilliputError, match="has too many pixels"):
        read_pictures(str(tmp_path)).pixels(0)


def test_folders_by_numbers_whose_order_is_open_are_refused(tmp_path):
    Image = pytest.importorskip("PIL.Image")
    for n in range(11):
        (tmp_path / str(n)).mkdir()
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / str(n) / "x.png")
    with pytest.raises(LilliputError, match="02 before 10"):
        parse_task(f'classification(images="{tmp_path}", part="whole")').floor()
    for n in range(10):
        (tmp_path / str(n)).rename(tmp_path / f"0{n}")
    assert len(parse_task(f'classification(images="{tmp_path}", part="whole")').floor().values) == 11
