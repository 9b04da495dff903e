"""Decoders against the arithmetic of each head's publication, on small networks with real heads, exported by torch."""

import math
import warnings

import numpy as np
import pytest

from lilliput.errors import LilliputError
from lilliput.models.compress import Context, compress
from lilliput.models.decoders import DECODERS, check_values, guessed
from lilliput.models.detection import read_scenes
from lilliput.models.images import parse_picture
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


def given(axes=("batch", 3, *SIZE), mask=False, **arrays):
    """A graph that gives these arrays, whatever picture it gets; with a mask, only where that hides nothing."""
    import onnx
    from onnx import helper, numpy_helper

    stored = [numpy_helper.from_array(one, f"{name}_stored") for name, one in arrays.items()]
    nodes = [helper.make_node("Identity", [f"{name}_stored"], [name]) for name in arrays]
    kinds = {name: helper.np_dtype_to_tensor_dtype(one.dtype) for name, one in arrays.items()}
    outputs = [helper.make_tensor_value_info(name, kinds[name], one.shape) for name, one in arrays.items()]
    inputs = [helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, axes)]
    if mask:  # the first array times the mean of the mask
        inputs.append(helper.make_tensor_value_info("pixel_mask", onnx.TensorProto.INT64, ["batch", 16, 16]))
        nodes[0].output[0] = "whole"
        nodes.append(helper.make_node("Cast", ["pixel_mask"], ["real"], to=onnx.TensorProto.FLOAT))
        nodes.append(helper.make_node("ReduceMean", ["real"], ["mean"], axes=[1, 2], keepdims=1))
        nodes.append(helper.make_node("Mul", ["whole", "mean"], [next(iter(arrays))]))
    graph = helper.make_graph(nodes, "given", inputs, outputs, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


CORNERS = np.array([[24, 16, 72, 48], [30, 16, 72, 48], [0, 0, 96, 64]], np.float32)
PARTS = [[0.25, 0.25, 0.75, 0.75], [0.3125, 0.25, 0.75, 0.75], [0, 0, 1, 1]]
SCORES = np.array([0.9, 0.8, 0.7], np.float32)


def found_in(tmp_path, scenes, decoder, picture="", **arrays):
    import onnx

    onnx.save(given(**arrays), tmp_path / "given.onnx")
    model = load_model(str(tmp_path / "given.onnx"), family="detection", picture=picture)
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
    filled = np.concatenate([rows, np.zeros((297, 6), np.float32)])  # as Ultralytics exports with nms=True
    assert guessed([filled], SIZE) == "end2end"
    check_values(DECODERS["end2end"].decode([filled], SIZE)[0], SIZE)
    check_values(DECODERS["end2end"].decode([filled[3:]], SIZE)[0], SIZE)


@pytest.mark.parametrize("name", ["yolos", "rtdetr"])
def test_logits_of_four_classes_are_not_taken_for_boxes(name):
    rng = np.random.default_rng(0)
    logits, queries = rng.normal(-3, 2, (100, 4)), rng.uniform(0.2, 0.4, (100, 4))
    for outputs in ([logits, queries], [queries, logits]):
        found = DECODERS[name].decode(outputs, SIZE)[0]
        of_queries = np.concatenate([queries[:, :2] - queries[:, 2:] / 2, queries[:, :2] + queries[:, 2:] / 2], axis=1)
        assert {*map(tuple, found.corners)} <= {*map(tuple, of_queries)}
    with pytest.raises(LilliputError, match=r"gives \[100, 4\], \[100, 4\] a picture"):
        DECODERS[name].decode([queries, queries / 2], SIZE)


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
            with pytest.raises(LilliputError, match="decoder='yolos' or decoder='rtdetr'; the outputs do not say"):
                guessed(outputs, SIZE)
    with pytest.raises(LilliputError, match="none of fastestdet"):
        guessed([np.zeros((7,))], SIZE)


@pytest.mark.parametrize(("name", "n_classes"), [("rtdetr", 80), ("rtdetr", 91), ("yolos", 92)])
def test_queries_become_the_boxes_that_transformers_makes_of_them(name, n_classes):
    torch = pytest.importorskip("torch")
    library = pytest.importorskip("transformers")
    from types import SimpleNamespace

    rng = np.random.default_rng(0)
    logits = rng.normal(-3, 2, (300, n_classes)).astype(np.float32)
    middle = rng.uniform(0.2, 0.8, (300, 2))
    queries = np.concatenate([middle, rng.uniform(0.1, 0.4, (300, 2))], axis=1).astype(np.float32)
    processor = library.RTDetrImageProcessor if name == "rtdetr" else library.DetrImageProcessor
    outputs = SimpleNamespace(logits=torch.from_numpy(logits)[None], pred_boxes=torch.from_numpy(queries)[None])
    (wanted,) = processor.post_process_object_detection(processor(), outputs, threshold=0.3, target_sizes=[SIZE])
    assert guessed([logits, queries], SIZE) == name
    boxes, n_found = DECODERS[name].decode([logits, queries], SIZE)
    assert n_found == 80
    sure = np.flatnonzero(boxes.scores > 0.3)
    sure = sure[np.argsort(-boxes.scores[sure], kind="stable")]
    labels, scores = wanted["labels"].numpy(), wanted["scores"].numpy()
    named = np.arange(80) if n_classes == 80 else np.delete(np.arange(91), (0, 12, 26, 29, 30, 45, 66, 68, 69, 71, 83))
    kept = np.isin(labels, named)  # numbers that no category has are left out, and of softmax the next is taken
    order = np.argsort(-scores[kept], kind="stable")
    if name == "rtdetr":
        assert boxes.classes[sure].tolist() == np.searchsorted(named, labels[kept][order]).tolist()
    np.testing.assert_allclose(boxes.scores[sure][: kept.sum()], scores[kept][order], atol=1e-6)
    parts = wanted["boxes"].numpy()[kept][order] / (WIDTH, HEIGHT, WIDTH, HEIGHT)
    np.testing.assert_allclose(boxes.corners[sure][: kept.sum()], parts, atol=1e-5)
    assert len(sure) > 50


def test_rows_of_seven_are_yolov7s_one_picture_at_a_time(scenes, tmp_path):
    rows = np.column_stack([[0, 0, 0], CORNERS, [0, 0, 2], SCORES]).astype(np.float32)
    for output in (rows, rows[:0]):
        assert guessed([output], SIZE) == "yolov7"
    boxes = found_in(tmp_path, scenes, "", output=rows)
    np.testing.assert_allclose(boxes.corners, PARTS)
    assert boxes.classes.tolist() == [0, 0, 2]
    np.testing.assert_allclose(boxes.scores, SCORES)
    several = rows.copy()
    several[:, 0] = [0, 1, 1]
    with pytest.raises(LilliputError, match=r"rows of seven: 0 \(the first picture\)"):
        found_in(tmp_path, scenes, "yolov7", output=several)


@pytest.mark.parametrize("shape", [(48, 48), (20, 90), (90, 20), (64, 96), (31, 47)])
def test_a_letterboxed_picture_is_whole_and_its_boxes_are_the_picture_s_own(shape, tmp_path):
    height, width = shape
    top, left, bottom, right = (height // 4, width // 4, height - height // 5, width - width // 3)
    pixels = np.zeros((1, height, width, 3), np.uint8)
    pixels[0, top:bottom, left:right] = 255
    path = tmp_path / "scenes.npz"
    np.savez(path, images=pixels, boxes=np.array([(0, 0, 0.5, 0.5, 0.5, 0.5)]))
    seen = parse_picture('picture(fit="letterbox")').seen(pixels[0], SIZE)
    assert seen.shape == (3, *SIZE)
    bars = np.isclose(seen[0], 114 / 255)
    inside = ~bars.all(axis=1)[:, None] & ~bars.all(axis=0)[None]
    assert bars.sum() == bars.size - inside.sum() or shape == (64, 96)  # gray is beside the picture alone
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    ratio = len(columns) / len(rows)
    assert ratio == pytest.approx(width / height, rel=0.05)  # the shape of things is kept
    white = np.argwhere((seen[0] > 0.5) & inside)
    corners = [*white.min(axis=0)[::-1], *(white.max(axis=0)[::-1] + 1)]
    row = np.array([[*corners, 0.9, 0]], np.float32)
    (found,) = found_in(tmp_path, str(path), "end2end", picture='picture(fit="letterbox")', output=row[None]).corners
    scale = min(HEIGHT / height, WIDTH / width)
    true = np.array([left / width, top / height, right / width, bottom / height])
    assert (np.abs(found - true) * (width, height, width, height) * scale).max() <= 1  # a pixel of the input


@pytest.mark.parametrize(
    ("shape", "place"),
    [
        # What LetterBox and scale_boxes of Ultralytics 8.4.190 make of them in 640 x 640: padding and rounded sides.
        ((480, 640), (0, 80, 640, 560)),
        ((427, 640), (0, 106, 640, 533)),
        ((333, 500), (0, 107, 640, 533)),
        ((500, 375), (80, 0, 560, 640)),
        ((1, 3000), (0, 319, 640, 320)),
    ],
)
def test_a_letterboxed_picture_stands_where_ultralytics_has_it(shape, place):
    found = parse_picture('picture(fit="letterbox")').place(shape, (640, 640))
    assert (np.array(found) * 640).tolist() == list(place)


def test_a_mask_beside_the_picture_hides_nothing_and_a_picture_may_have_three_axes(scenes, tmp_path):
    rows = np.column_stack([CORNERS, SCORES, [0, 0, 2]]).astype(np.float32)
    boxes = found_in(tmp_path, scenes, "end2end", mask=True, output=rows[None])
    np.testing.assert_allclose(boxes.corners, PARTS)
    alone = {"scores": SCORES, "boxes": CORNERS, "labels": np.array([1, 1, 3])}
    boxes = found_in(tmp_path, scenes, "torchvision", axes=(3, *SIZE), **alone)
    np.testing.assert_allclose(boxes.corners, PARTS)
    with pytest.raises(LilliputError, match=r"say which: --picture"):
        found_in(tmp_path, scenes, "torchvision", axes=(3, "height", "width"), **alone)


def test_a_detector_of_one_picture_or_with_a_mask_is_compressed_and_exported(scenes, tmp_path):
    torch = pytest.importorskip("torch")
    from torch import nn

    from lilliput.models.export import check, export

    class Alone(nn.Module):
        def __init__(self, axes):
            super().__init__()
            torch.manual_seed(0)
            self.axes, self.first, self.last = axes, nn.Conv2d(3, 8, 8, 8), nn.Conv2d(8, 4, 1)

        def forward(self, x, pixel_mask=None):
            x = x[None] if self.axes == 3 else x
            if pixel_mask is not None:
                x = x * torch.nn.functional.interpolate(pixel_mask[:, None].float(), size=SIZE)
            return self.last(torch.relu(self.first(x))).flatten(2).transpose(1, 2)

    for axes in (3, 4):
        given = (torch.zeros(3, *SIZE),) if axes == 3 else (torch.zeros(1, 3, *SIZE), torch.ones(1, 16, 16).long())
        path = tmp_path / f"{axes}.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            names = ["images"] if axes == 3 else ["images", "pixel_mask"]
            torch.onnx.export(Alone(axes), given, str(path), input_names=names, opset_version=17, dynamo=False)
        model = load_model(str(path), family="detection")
        for recipe in ("half()", f"quantize(scheme='static', source={scenes!r}, observations=2)"):
            small = compress(model, recipe, Context(model))
            assert check(export(small, "onnx", tmp_path / f"{axes}{recipe[:4]}").folder) == 0
        with pytest.raises(
            LilliputError, match="the graph takes one picture" if axes == 3 else "cannot be trained here"
        ):
            compress(model, f"finetune(source={scenes!r}, steps=1, observations=2)", Context(model))


def test_pictures_at_once_are_bounded_by_their_pixels():
    from lilliput.models.load.onnx import ports
    from lilliput.models.model import Graph, Model
    from lilliput.models.picture import batch_of

    sizes = {(224, 224): 64, (640, 640): 10, (1280, 1280): 2, (4096, 4096): 1}
    for size, wanted in sizes.items():
        proto = given(axes=("batch", 3, *size), output=CORNERS)
        assert batch_of(Model(Graph(proto), "detection", *ports(proto))) == wanted


def bright_alone(path, rows, *, zeros):
    """A graph that gives the rows of bright pictures, and of others none, or rows of zeros."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=0),
        helper.make_node("Greater", ["mean", "middle"], ["bright"]),
    ]
    if zeros:
        nodes += [
            helper.make_node("Cast", ["bright"], ["factor"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["rows", "factor"], ["kept"]),
        ]
    else:
        nodes += [
            helper.make_node("Expand", ["bright", "n"], ["each"]),
            helper.make_node("Compress", ["rows", "each"], ["kept"], axis=0),
        ]
    nodes.append(helper.make_node("Unsqueeze", ["kept", "first"], ["output"]))
    arrays = {"rows": rows, "middle": np.float32(0.5), "n": np.array([len(rows)]), "first": np.array([0])}
    graph = helper.make_graph(
        nodes,
        "bright",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, *SIZE])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, "n", 6])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return load_model(str(path), family="detection")


def shown(path, brightness):
    """Pictures of that brightness, in each the same box."""
    images = np.stack([np.full((*SIZE, 3), value, np.uint8) for value in brightness])
    boxes = [(n, 0, 0.5, 0.5, 0.4, 0.6) for n in range(len(images))]
    np.savez(path, images=images, boxes=np.array(boxes))
    return str(path)


@pytest.mark.parametrize("zeros", [False, True])
def test_what_is_given_where_nothing_is_found_tells_no_decoder(tmp_path, zeros):
    """No row of six, and rows of zeros, may be anything; a picture in which something is found tells it."""
    rows = np.array([[8, 8, 40, 40, 0.9, 1]], np.float32)
    model = bright_alone(tmp_path / "model.onnx", rows, zeros=zeros)
    mixed, dark = (shown(tmp_path / f"{n}.npz", [0, 0, n, n, 0]) for n in (255, 0))
    task, in_the_dark = (parse_task(f'detection(images="{path}", part="whole", draws=1)') for path in (mixed, dark))
    task.check(model, open_session(model))
    assert "are read as decoder='end2end'" in task.guesses(model)[0]
    boxes = detected(model, open_session(model), read_scenes(mixed), "", 0.001, 0.45)
    assert [len(one.scores) for one in boxes] == [0, 0, 1, 1, 0]
    with pytest.raises(LilliputError, match=r"finds nothing in 32 pictures .* cannot be told; name one of: decoder="):
        in_the_dark.check(model, open_session(model))
    parse_task(f'detection(images="{dark}", decoder="end2end", part="whole")').check(model, open_session(model))
    # A candidate that has lost everything is asked on, and finds nothing.
    assert in_the_dark.ask(model, open_session(model)).values[0] == 0
    # PaddlePaddle's rows are a class, a score and corners.
    other = bright_alone(tmp_path / "other.onnx", rows[:, [5, 4, 0, 1, 2, 3]] + np.float32(0.25), zeros=zeros)
    with pytest.raises(LilliputError, match="can be read by none"):
        task.check(other, open_session(other))
