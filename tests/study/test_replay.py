import base64
import io
import re
from dataclasses import replace

import pytest
from tests.study.test_study import ran, study_file

from lilliput.report import summary
from lilliput.report.files import write_all
from lilliput.shrink.page import clips_of
from lilliput.shrink.result import Result
from lilliput.study.conduct import records
from lilliput.study.replay import replays

Image = pytest.importorskip("PIL.Image", reason="needs the extra report")
pytest.importorskip("pygame", reason="CartPole draws with it")
pytest.importorskip("plotly", reason="needs the extra report")


@pytest.mark.slow
def test_baseline_and_candidate_stand_side_by_side_in_a_clip_on_the_page(balancer, tmp_path, monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    folder = tmp_path / "out"
    path = study_file(tmp_path, balancer, "keep = 0.5", recipes=['"half()"'])
    path.write_text(path.read_text().replace("episodes = 3", "episodes = 20"))
    ran(path, folder)
    known = list(records(folder))
    write_all(known, 0.5, folder, "balance", replay=lambda rows: replays(known, rows, 0.5, folder))
    page = (folder / "report.html").read_text()
    (clip,) = re.findall(r"data:image/webp;base64,([^\"]+)", page)
    packed = base64.b64decode(clip)
    assert len(packed) < 400_000
    clip = Image.open(io.BytesIO(packed))
    assert clip.n_frames > 20
    width, height = clip.size
    left, right = clip.crop((0, 0, width // 2, height)), clip.crop((width // 2, 0, width, height))
    # The first frame of the same seed is the same picture.
    assert sum(abs(a - b) for a, b in zip(left.convert("L").tobytes(), right.convert("L").tobytes(), strict=True)) < (
        4 * width * height
    )
    assert "half() (onnx), seed" in page
    # What a shrink confirmed, from its folder: the same two, on the first episode of the confirmation.
    cells = [(one, replace(one.cell, settings=(("role", "confirmation"),))) for one in known if one.artifact]
    confirmed = [replace(one, cell=cell) for one, cell in cells]
    result = Result(2, 1, 1.0, 1.0, 1.0, "half()", 1.0, 1.0, 20, 1, 1.0, (), ())
    (shown,), without = clips_of(confirmed, result, folder)
    assert not without
    assert Image.open(io.BytesIO(shown.webp)).size == (width, height)
    assert clips_of(confirmed, replace(result, recipe=""), folder) == ((), ("no replay: nothing was confirmed",))


def test_where_nothing_kept_the_return_it_says_so(balancer, tmp_path):
    folder = tmp_path / "out"
    ran(study_file(tmp_path, balancer, recipes=['"half()"']), folder)
    known = list(records(folder))
    alone = [row for row in summary.rows(known, 0.95) if not row.recipe]
    clips, without = replays(known, alone, 0.95, folder)
    assert clips == []
    assert without == ["no replay of balancer CartPole-v1: no candidate kept the return"]
