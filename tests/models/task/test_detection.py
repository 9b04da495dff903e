"""Average precision against pycocotools, with weights too; decoding and suppression by hand."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lilliput.errors import LilliputError
from lilliput.models.decoders import fastestdet
from lilliput.models.detection import Boxes, average_precision, overlaps, read_scenes, suppressed
from lilliput.models.images import Picture
from lilliput.models.load import load_model
from lilliput.models.picture import picture_of
from lilliput.models.session import open_session
from lilliput.models.task import parse_task


def scene(rng: np.random.Generator, n_images: int) -> tuple[list[Boxes], list[Boxes]]:
    """Boxes that are there, and boxes found: near some of them, and elsewhere; scores with ties."""
    there, found = [], []
    for _ in range(n_images):
        n = int(rng.integers(0, 7))
        low = rng.random((n, 2)) * 0.6
        corners = np.concatenate([low, low + 0.05 + rng.random((n, 2)) * 0.35], axis=1)
        classes = rng.integers(0, 4, n)
        there.append(Boxes(corners, classes, np.ones(n)))
        shifted = np.repeat(corners, 2, axis=0) + rng.normal(0, 0.02, (2 * n, 4))
        extra = rng.random((3, 2)) * 0.5
        more = np.concatenate([extra, extra + 0.2], axis=1)
        all_corners = np.concatenate([np.sort(shifted.reshape(-1, 2, 2), axis=1).reshape(-1, 4), more])
        kinds = np.concatenate([np.repeat(classes, 2), rng.integers(0, 4, 3)])
        found.append(Boxes(all_corners, kinds, np.round(rng.random(len(kinds)), 2)))
    return there, found


def coco(there: list[Boxes], found: list[Boxes]) -> float:
    """What pycocotools says."""
    maker = pytest.importorskip("pycocotools.coco").COCO
    judge = pytest.importorskip("pycocotools.cocoeval").COCOeval
    side = 1000.0
    truth, results = [], []
    for image, (one, other) in enumerate(zip(there, found, strict=True), 1):
        for boxes, target in ((one, truth), (other, results)):
            for corners, kind, score in zip(boxes.corners, boxes.classes, boxes.scores, strict=True):
                left, top, right, bottom = (corners * side).tolist()
                box = [left, top, right - left, bottom - top]
                target.append(
                    {"id": len(target) + 1, "image_id": image, "category_id": int(kind) + 1, "bbox": box,
                     "area": box[2] * box[3], "iscrowd": 0, "score": float(score)}
                )  # fmt: skip
    images = [{"id": n} for n in range(1, len(there) + 1)]
    kinds = [{"id": n} for n in sorted({row["category_id"] for row in truth})]
    gold = maker()
    gold.dataset = {"images": images, "annotations": truth, "categories": kinds, "info": {}}
    gold.createIndex()
    run = judge(gold, gold.loadRes(results), "bbox")
    run.evaluate()
    run.accumulate()
    run.summarize()
    return float(run.stats[0])


@pytest.mark.parametrize("seed", range(6))
def test_average_precision_is_that_of_pycocotools(seed, capsys):
    there, found = scene(np.random.default_rng(seed), 25)
    ours = average_precision(found, there, np.ones((1, 25)))[0]
    assert ours == pytest.approx(coco(there, found), abs=1e-8)


@pytest.mark.parametrize("seed", range(3))
def test_a_weight_counts_an_image_so_many_times(seed, capsys):
    rng = np.random.default_rng(seed)
    there, found = scene(rng, 12)
    # Scores without ties: whether a repeated image stands before or behind an equal score is an order, not a weight.
    found = [replace(boxes, scores=rng.random(len(boxes.scores))) for boxes in found]
    counts = rng.multinomial(12, np.full(12, 1 / 12))
    repeated = [index for index, count in enumerate(counts) for _ in range(count)]
    ours = average_precision(found, there, counts[None].astype(np.float64))[0]
    again = average_precision([found[i] for i in repeated], [there[i] for i in repeated], np.ones((1, len(repeated))))[
        0
    ]
    # Copies of an image share their scores, so that one may stand half through another: recall moves by that much.
    assert ours == pytest.approx(again, abs=0.02)


def test_what_finds_everything_has_one_and_what_finds_nothing_has_none():
    there, _ = scene(np.random.default_rng(0), 10)
    assert average_precision(there, there, np.ones((1, 10)))[0] == pytest.approx(1)
    empty = [Boxes(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0))] * 10
    assert average_precision(empty, there, np.ones((1, 10)))[0] == 0


def test_overlap_and_suppression_of_boxes_by_hand():
    corners = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [0, 0, 2, 2.0]])
    assert overlaps(corners[:1], corners[1:]) == pytest.approx(np.array([[1 / 3, 1]]))
    boxes = Boxes(corners, np.array([0, 0, 1]), np.array([0.9, 0.8, 0.7]))
    assert suppressed(boxes, 0.0, 0.3).scores.tolist() == [0.9, 0.7]
    assert suppressed(boxes, 0.0, 1 / 3).scores.tolist() == [0.9, 0.8, 0.7]  # what overlaps by as much stays
    assert suppressed(boxes, 0.0, 0.4).scores.tolist() == [0.9, 0.8, 0.7]
    assert suppressed(boxes, 0.75, 0.4).scores.tolist() == [0.9, 0.8]


def test_a_cell_of_a_grid_says_where_its_box_is():
    output = np.zeros((7, 2, 2))
    output[:, 1, 0] = [1.0, 0.0, np.arctanh(0.5), 0.0, 0.0, 0.0, 0.81]
    boxes, n_classes = fastestdet([output], (32, 32))
    assert n_classes == 2
    best = int(boxes.scores.argmax())
    assert best == 2
    assert boxes.classes[best] == 1
    assert boxes.scores[best] == pytest.approx(0.81**0.4)
    assert boxes.corners[best] == pytest.approx([0 - 0.25, 0.75 - 0.25, 0 + 0.25, 0.75 + 0.25])


def test_a_line_that_is_no_box_is_named(tmp_path):
    from PIL import Image

    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "images" / "a.png")
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n1 0.5 0.5\n")
    with pytest.raises(LilliputError, match=r"a.txt line 2 is no box"):
        read_scenes(str(tmp_path))
    with pytest.raises(LilliputError, match="did you mean fastestdet"):
        parse_task('detection(images="x", decoder="fastestde")')


def test_a_picture_that_is_cut_is_no_measure_of_boxes(tmp_path):
    from PIL import Image

    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
    Image.new("RGB", (96, 48)).save(tmp_path / "images" / "a.png")
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    model = load_model("examples/models/detector.onnx", family="detection")
    task = parse_task(f'detection(images="{tmp_path}", decoder="fastestdet", part="whole", draws=2)')
    assert picture_of(model).fit == "stretch"
    task.check(model, open_session(model))
    with pytest.raises(LilliputError, match="add fit='stretch' or fit='letterbox' to --picture"):
        task.check(replace(model, picture=Picture(order="bgr")), open_session(model))


FOLDER = os.environ.get("LILLIPUT_MODELS", "")


@pytest.mark.slow
@pytest.mark.skipif(not FOLDER, reason="LILLIPUT_MODELS is not set")
def test_fastestdet_finds_as_much_as_its_readme_says():
    model = load_model(str(Path(FOLDER) / "FastestDet.onnx"), family="detection")
    model = replace(model, picture=Picture(fit="stretch", order="bgr"))
    task = parse_task(f'detection(images="{FOLDER}/coco", decoder="fastestdet", part="whole", draws=20)')
    answers = task.ask(model, open_session(model))
    assert task.score(answers.values) == pytest.approx(0.182, abs=0.0015)
    assert answers.values[1:].std() > 0.005
