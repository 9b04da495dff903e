"""Decoders against the arithmetic of each head's publication, on small networks with real heads, exported by torch."""

import math
import warnings

import numpy as np
import pytest

from lilliput.errors import LilliputError
from lilliput.models.compress import Context, compress
from lilliput.models.decoders import DECODERS, check_values, guessed
from lilliput.models.detection import read_scenes
from lilliput.models.load import load_model
from lilliput.models.session import open_session
from lilliput.models.task import parse_task
from lilliput.models.task.detection import detected

HEIGHT, WIDTH = SIZE = (64, 96)
N_CLASSES = 3
STRIDES = (8, 16, 32)
ANCHORS = (((10, 13), (16, 30), (33, 23)), ((30, 61), (62, 45), (59, 119)), ((116, 90), (156, 198), (373, 326)))
"""YOLOv5's."""


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Eight pictures of another shape than the input's, with boxes of the three classes."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, 48, 48, 3), dtype=np.uint8)
    boxes = [(n, n % N_CLASSES, 0.5, 0.5, 0.4, 0.6) for n in range(8)]
    path = tmp_path_factory.mktemp("scenes") / "scenes.npz"
    np.savez(path, images=images, boxes=np.array(boxes))
    return str(path)


def network(head):
    """A backbone of strides 8, 16 and 32 with Ultralytics' head of that name: (what is exported, its raw grids)."""
    torch = pytest.importorskip("torch")
    from torch import nn

    class Yolo(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.stem = nn.Conv2d(3, 8, 8, 8)
            self.down = nn.ModuleList(nn.Conv2d(8, 8, 3, 2, 1) for _ in range(2))
            n = 64 + N_CLASSES if head == "yolov8" else 3 * (5 + N_CLASSES)
            self.heads = nn.ModuleList(nn.Conv2d(8, n, 1) for _ in STRIDES)
            for part in self.heads:
                nn.init.normal_(part.get_parameter("weight"), std=1.5)
            self.dfl = nn.Conv2d(16, 1, 1, bias=False)
            self.anchors = [torch.tensor(one, dtype=torch.float32).view(1, 3, 1, 1, 2) for one in ANCHORS]
            self.dfl.weight.data[:] = torch.arange(16.0).view(1, 16, 1, 1)

        def grids(self, x):
            levels = [torch.relu(self.stem(x))]
            for part in self.down:
                levels.append(torch.relu(part(levels[-1])))
            return [part(level) for part, level in zip(self.heads, levels, strict=True)]

        def forward(self, x):
            return self.v8(self.grids(x)) if head == "yolov8" else self.v5(self.grids(x))

        def v8(self, grids):
            joined = torch.cat([one.view(1, 64 + N_CLASSES, -1) for one in grids], 2)
            box, classes = joined.split((64, N_CLASSES), 1)
            left = self.dfl(box.view(1, 4, 16, -1).transpose(2, 1).softmax(1)).view(1, 4, -1)
            points, strides = [], []
            for one, stride in zip(grids, STRIDES, strict=True):
                y, x = torch.meshgrid(*(torch.arange(n) + 0.5 for n in one.shape[2:]), indexing="ij")
                points.append(torch.stack((x.flatten(), y.flatten())))
                strides.append(torch.full((1, x.numel()), float(stride)))
            first, last = left.chunk(2, 1)
            low, high = torch.cat(points, 1) - first, torch.cat(points, 1) + last
            return torch.cat(
                (torch.cat(((low + high) / 2, high - low), 1) * torch.cat(strides, 1), classes.sigmoid()), 1
            )

        def v5(self, grids):
            rows = []
            for one, stride, anchors in zip(grids, STRIDES, self.anchors, strict=True):
                tall, wide = one.shape[2:]
                y = one.view(1, 3, -1, tall, wide).permute(0, 1, 3, 4, 2).sigmoid()
                xy, wh, rest = y.split((2, 2, 1 + N_CLASSES), 4)
                ys, xs = torch.meshgrid(torch.arange(tall), torch.arange(wide), indexing="ij")
                xy = (xy * 2 + torch.stack((xs, ys), -1) - 0.5) * stride
                wh = (wh * 2) ** 2 * anchors
                rows.append(torch.cat((xy, wh, rest), 4).view(1, -1, 5 + N_CLASSES))
            return torch.cat(rows, 1)

    return Yolo().eval()


def exported(made, path):
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(made, (torch.zeros(1, 3, *SIZE),), str(path), opset_version=17, dynamo=False)
    return load_model(str(path), family="detection")


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def by_hand_v8(grid, stride, y, x):
    ends = []
    for side in range(4):
        power = np.exp(grid[16 * side : 16 * side + 16, y, x].astype(np.float64))
        ends.append(float(power @ np.arange(16) / power.sum()))
    corners = [x + 0.5 - ends[0], y + 0.5 - ends[1], x + 0.5 + ends[2], y + 0.5 + ends[3]]
    scores = [sigmoid(one) for one in grid[64:, y, x]]
    yield [one * stride for one in corners], int(np.argmax(scores)), max(scores)


def by_hand_v5(grid, stride, y, x):
    for number, (width, height) in enumerate(ANCHORS[STRIDES.index(stride)]):
        tx, ty, tw, th, sure, *classes = map(sigmoid, grid.reshape(3, -1, *grid.shape[1:])[number, :, y, x])
        middle, extent = (
            ((2 * tx - 0.5 + x) * stride, (2 * ty - 0.5 + y) * stride),
            (width * 4 * tw**2, height * 4 * th**2),
        )
        corners = [
            middle[0] - extent[0] / 2,
            middle[1] - extent[1] / 2,
            middle[0] + extent[0] / 2,
            middle[1] + extent[1] / 2,
        ]
        yield corners, int(np.argmax(classes)), sure * max(classes)


@pytest.mark.parametrize(("head", "by_hand"), [("yolov8", by_hand_v8), ("yolov5", by_hand_v5)])
def test_a_head_of_yolo_is_known_by_its_places_and_gives_the_boxes_of_its_definition(head, by_hand, scenes, tmp_path):
    made = network(head)
    model = exported(made, tmp_path / "yolo.onnx")
    import torch

    x = np.random.default_rng(1).random((1, 3, *SIZE), np.float32)
    output = next(iter(open_session(model).answer({model.inputs[0].name: x}).values()))[0]
    assert guessed([output], SIZE) == head
    boxes, n_classes = DECODERS[head].decode([output], SIZE)
    assert n_classes == N_CLASSES
    check_values(boxes, SIZE)
    with torch.inference_mode():
        grids = [one[0].numpy() for one in made.grids(torch.from_numpy(x))]
    wanted = []
    for grid, stride in zip(grids, STRIDES, strict=True):
        for y in range(grid.shape[1]):
            for column in range(grid.shape[2]):
                for corners, kind, score in by_hand(grid, stride, y, column):
                    parts = np.clip(np.array(corners) / (WIDTH, HEIGHT, WIDTH, HEIGHT), 0, 1)
                    wanted.append((kind, *parts.tolist(), score))
    found = np.column_stack([boxes.classes, boxes.corners, boxes.scores])
    assert len(found) == len(wanted)
    for row in wanted:
        assert np.abs(found - row).max(axis=1).min() < 1e-4
    task = parse_task(f"detection(images={scenes!r}, part='whole', draws=0)")
    task.check(model, open_session(model))
    (said,) = task.guesses(model)
    assert f"decoder={head!r}" in said
    named = parse_task(f"detection(images={scenes!r}, part='whole', draws=0, decoder={head!r})")
    assert named.guesses(model) == ()
    assert task.ask(model, open_session(model)).values == named.ask(model, open_session(model)).values


def test_static_ranges_leave_the_scores_beside_boxes_in_pixels(scenes, tmp_path):
    model = exported(network("yolov8"), tmp_path / "yolo.onnx")
    small = compress(model, f"quantize(scheme='static', source={scenes!r}, observations=2)", Context(model))
    seen = read_scenes(scenes)
    found = [detected(which, open_session(which), seen, "yolov8", 0.0, 1.0) for which in (model, small)]
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(np.sort(other.scores), np.sort(one.scores), atol=0.1)
        assert len(np.unique(other.scores)) > 20


def given(**arrays):
    """A graph that gives these arrays, whatever picture it gets."""
    import onnx
    from onnx import helper, numpy_helper

    stored = [numpy_helper.from_array(one, f"{name}_stored") for name, one in arrays.items()]
    nodes = [helper.make_node("Identity", [f"{name}_stored"], [name]) for name in arrays]
    kinds = {name: helper.np_dtype_to_tensor_dtype(one.dtype) for name, one in arrays.items()}
    outputs = [helper.make_tensor_value_info(name, kinds[name], one.shape) for name, one in arrays.items()]
    picture = helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, ["batch", 3, *SIZE])
    graph = helper.make_graph(nodes, "given", [picture], outputs, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


CORNERS = np.array([[24, 16, 72, 48], [30, 16, 72, 48], [0, 0, 96, 64]], np.float32)
PARTS = [[0.25, 0.25, 0.75, 0.75], [0.3125, 0.25, 0.75, 0.75], [0, 0, 1, 1]]
SCORES = np.array([0.9, 0.8, 0.7], np.float32)


def found_in(tmp_path, scenes, decoder, **arrays):
    import onnx

    onnx.save(given(**arrays), tmp_path / "given.onnx")
    model = load_model(str(tmp_path / "given.onnx"), family="detection")
    task = parse_task(f"detection(images={scenes!r}, part='whole', draws=0, decoder={decoder!r})")
    task.check(model, open_session(model))
    return detected(model, open_session(model), read_scenes(scenes), decoder, 0.001, 0.45)[0]


@pytest.mark.parametrize(
    ("decoder", "labels", "classes"),
    [("torchvision", [1, 1, 3], [0, 0, 2]), ("torchvision_coco", [1, 1, 90], [0, 0, 79])],
)
def test_what_torchvision_left_is_taken_as_it_is(decoder, labels, classes, scenes, tmp_path):
    arrays = {"scores": SCORES, "boxes": CORNERS, "labels": np.array(labels)}
    boxes = found_in(tmp_path, scenes, decoder, **arrays)
    np.testing.assert_allclose(boxes.corners, PARTS)
    assert boxes.classes.tolist() == classes  # both of class 0, which overlap by 0.875: it suppressed already
    np.testing.assert_allclose(boxes.scores, SCORES)
    with pytest.raises(LilliputError, match="decoder='torchvision' or decoder='torchvision_coco'"):
        found_in(tmp_path, scenes, "", **arrays)
    with pytest.raises(LilliputError, match="labels from 0 to 3; torchvision's are"):
        found_in(tmp_path, scenes, decoder, **{**arrays, "labels": np.array([0, 1, 3])})


def test_rows_of_six_are_corners_a_score_and_a_class(scenes, tmp_path):
    rows = np.column_stack([CORNERS, SCORES, [0, 0, 2]]).astype(np.float32)
    assert guessed([rows], SIZE) == "end2end"
    found = DECODERS["end2end"].decode([rows], SIZE)[0]
    np.testing.assert_allclose(found.corners, PARTS)
    assert found.classes.tolist() == [0, 0, 2]
    with pytest.raises(LilliputError, match=r"first axis must count them"):
        found_in(tmp_path, scenes, "end2end", output=rows[None])  # eight pictures, one answer


def test_what_may_be_two_things_is_refused_with_the_names_and_what_cannot_be_read_so_is_not():
    places = sum(HEIGHT * WIDTH // stride**2 for stride in STRIDES)
    rows = np.random.default_rng(0).random((places, 8))
    with pytest.raises(LilliputError, match="can be read by decoder='yolov5'; the outputs do not say"):
        guessed([rows], SIZE)  # YOLOv6, or YOLOX without its grid
    with pytest.raises(LilliputError, match=r"pixels wide and high .*YOLOX"):
        check_values(DECODERS["yolov5"].decode([rows], SIZE)[0], SIZE)
    logits = np.repeat([[9.0], [-4.0]], 40, axis=1)
    pixels = np.repeat([[48.0], [32.0], [30.0], [30.0]], 40, axis=1)
    with pytest.raises(LilliputError, match="scores go from 9 to 9"):
        check_values(DECODERS["yolov8"].decode([np.concatenate([pixels, logits])], SIZE)[0], SIZE)
    for many in (92, 81):
        outputs = [np.zeros((10, many)), np.full((10, 4), 0.5)]
        if many == 92:
            assert guessed(outputs, SIZE) == "yolos"
        else:
            with pytest.raises(LilliputError, match="decoder='yolos'; the outputs do not say"):
                guessed(outputs, SIZE)
    with pytest.raises(LilliputError, match="none of fastestdet"):
        guessed([np.zeros((7,))], SIZE)
