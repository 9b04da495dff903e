#!/usr/bin/env bash
# pycocotools 2.0.11: an annotation whose id is 0 can never be found, since COCOeval notes "not matched" as 0: its detection is a
# false positive and the object is missed, without a word. Perfect detections of four objects numbered from 0, as many
# converters number them, have an average precision of 0.56; numbered from 1 it is 1.
# Expected before: ids are names; perfect detections have an average precision of 1.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet numpy==2.4.6 pycocotools==2.0.11
"$folder/venv/bin/python" - <<'PYTHON'
import contextlib
import io

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

BOX = [10.0, 10.0, 50.0, 50.0]


def judged(first):
    """Average precision and recall of detections that are the annotations, one an image, whose ids begin at `first`."""
    images = range(1, 5)
    about = {"category_id": 1, "bbox": BOX}
    truth = [{**about, "id": first + k, "image_id": image, "area": 2500.0, "iscrowd": 0} for k, image in enumerate(images)]
    found = [{**about, "image_id": image, "score": 1 - 0.1 * k} for k, image in enumerate(images)]
    coco, told = COCO(), io.StringIO()
    coco.dataset = {"images": [{"id": image} for image in images], "annotations": truth, "categories": [{"id": 1}]}
    with contextlib.redirect_stdout(told):
        coco.createIndex()
        judge = COCOeval(coco, coco.loadRes(found), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    assert "arning" not in told.getvalue()
    return judge.stats[0], judge.stats[8]


for first in (1, 0):
    precision, recall = judged(first)
    print(f"ids from {first}: average precision {precision:.3f}, recall {recall:.3f}")
    assert recall == (1 if first else 0.75)
    assert precision == 1 if first else abs(precision - 0.564) < 0.001
PYTHON
