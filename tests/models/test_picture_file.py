"""Pictures that lie otherwise than they are seen, against Pillow's own turning and OpenCV's reading."""

import numpy as np
import pytest

from lilliput.models import picture_file
from lilliput.models.images import read_pictures
from lilliput.models.load import load_model
from lilliput.models.task import parse_task

image = pytest.importorskip("PIL.Image")

KINDS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "tif": "TIFF"}


def written(path, orientation):
    """A picture of 20 x 30 with a bright corner, whose EXIF says that."""
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[:10, :10], pixels[15:, 20:] = 255, (200, 30, 90)
    said = image.Exif()
    said[0x0112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    image.fromarray(pixels).save(path, KINDS[path.suffix[1:]], exif=said)
    return path


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_upright_whatever_its_orientation(tmp_path, suffix, orientation):
    from PIL import ImageOps

    path = written(tmp_path / f"a.{suffix}", orientation)
    pixels = picture_file.pixels(path)
    with image.open(path) as opened:
        wanted = np.asarray(ImageOps.exif_transpose(opened))
    np.testing.assert_array_equal(pixels, wanted)
    assert picture_file.shape(path) == pixels.shape[:2] == ((20, 30) if orientation < 5 else (30, 20))
    assert picture_file.is_turned(path) is (orientation > 1 and suffix != "tif")  # Pillow turns it for all
    opencv = pytest.importorskip("cv2")
    if suffix in ("jpg", "png"):
        read = opencv.imread(str(path))[..., ::-1].astype(int)
        assert np.abs(read - pixels).max() < 12  # other decoders of JPEG round otherwise


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_there_is_not_turns_nothing(tmp_path, orientation):
    path = written(tmp_path / "a.png", orientation)
    assert picture_file.shape(path) == picture_file.pixels(path).shape[:2] == (20, 30)
    assert not picture_file.is_turned(path)


def test_damaged_exif_is_no_reason_not_to_see_a_picture(tmp_path):
    path = written(tmp_path / "a.jpg", 6)
    data = path.read_bytes()
    at = data.index(b"Exif") + 6
    path.write_bytes(data[:at] + b"\xff" * 12 + data[at + 12 :])
    assert picture_file.shape(path) == picture_file.pixels(path).shape[:2] == (20, 30)
    assert not picture_file.is_turned(path)


def test_it_is_said_how_many_pictures_are_turned(tmp_path):
    for n, orientation in enumerate((1, 6, 3, 1)):
        written(tmp_path / "data" / str(n) / "a.jpg", orientation)
    task = parse_task(f'classification(images="{tmp_path / "data"}", part="whole")')
    (said,) = task.guesses(load_model("examples/models/classifier.onnx"))
    assert said.startswith("2 of the 4 pictures of")
    assert not read_pictures("examples/models/digits.npz").turned()


def test_labels_of_boxes_are_of_the_upright_picture(tmp_path):
    """As those who draw them see it, and as OpenCV reads it for Ultralytics."""
    written(tmp_path / "images" / "a.jpg", 6)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    scenes = f'detection(images="{tmp_path}", decoder="fastestdet", part="whole")'
    model = load_model("examples/models/detector.onnx", family="detection")
    assert parse_task(scenes).guesses(model)[0].startswith("1 of the 1 pictures of")
    assert read_pictures(str(tmp_path)).shape(0) == (30, 20)
