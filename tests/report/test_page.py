import dataclasses
import itertools
import json
import re
import shutil
import sys

import numpy as np
import pytest
from tests.report.rows import SEEDS, study

from lilliput.errors import MissingDependency
from lilliput.measurement import Measurement
from lilliput.record import Cell, Record
from lilliput.report import page, summary
from lilliput.report.files import csv_text, write_all
from lilliput.task import Task

SHARES = {
    **{f"prune_units(ratio={k / 10})": (1 - (k / 10) ** 2, 4000 - 400 * k) for k in range(1, 8)},
    **{f'prune_units(ratio={k / 10}, importance="l2")': (1 - (k / 10) ** 3, 4000 - 400 * k) for k in range(1, 8)},
    **{f"quantize(weight_bits={bits})": (1 - 2.0**-bits, 500 * bits // 4) for bits in (2, 4, 6)},
    'quantize(scheme="static", source="gaussian")': (0.5, 1000),
    'quantize(scheme="static", source="gaussian", draw=1)': (0.6, 1000),
    'quantize(scheme="static")': (0.95, 1000),
}
EVIL = '</script><script>document.title = "owned"</script>'


@pytest.fixture(scope="module")
def records():
    broken = Cell("0" * 64, "half()", Task("Env-v0"), SEEDS)
    return [*study(SHARES), Record(broken, "failed", EVIL)]


@pytest.fixture(scope="module")
def rows(records):
    return summary.rows(records, 0.9)


@pytest.fixture(scope="module")
def written(records, tmp_path_factory):
    pytest.importorskip("plotly", reason="needs the extra report")
    pytest.importorskip("pyarrow", reason="needs the extra report")
    folder, notes = tmp_path_factory.mktemp("report"), ("one policy <left> out",)
    found = write_all(records, 0.9, folder, f"A {EVIL} study", study="seed = 0", notes=notes)
    assert found.left_out == ()
    return folder / "report.html"


def test_the_page_loads_nothing_and_holds_every_row(written, rows):
    text = written.read_text()
    without_plotly = "".join(text.split("<script>")[:-2])
    assert not re.findall(r"(?:src|href)=[\"'](?:https?:)?//", without_plotly)
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])
    assert len(data["rows"]) == len(rows)
    assert [row["bytes"] for row in data["rows"]] == [row.model_bytes for row in rows]
    assert data["rows"][1]["curves"] == [["prune_units l1", "ratio", 0.1]]


def test_no_text_of_a_record_becomes_markup(written):
    assert "<script>document.title" not in written.read_text()
    assert "one policy &lt;left&gt; out" in written.read_text()


def test_the_page_is_written_of_nothing_too(tmp_path):
    pytest.importorskip("plotly")
    assert "none" in page.write([], 0.9, tmp_path / "report.html", "empty").read_text()


def test_without_plotly_the_csv_is_there_and_the_extra_is_named(records, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    few = [record for record in records if record.cell.recipe in ("", "quantize(weight_bits=4)")]
    found = write_all(few, 0.9, tmp_path, "study")
    assert "report.html needs plotly; install it with: pip install 'lilliput[report]'" in found.left_out
    assert {"csv", "guidelines"} <= set(found.files)
    assert "html" not in found.files
    with pytest.raises(MissingDependency, match="report"):
        page.write(few, 0.9, tmp_path / "report.html", "study")


def test_the_csv_reads_back(rows):
    import csv

    lines = list(csv.DictReader(csv_text(rows).splitlines()))
    assert [line["recipe"] for line in lines] == [row.recipe for row in rows]
    assert [float(line["retention"]) for line in lines if line["retention"]] == [
        row.retention.estimate for row in rows if row.retention
    ]


def test_the_parquet_file_holds_the_rows(written, rows):
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra report")
    table = parquet.read_table(written.with_name("report.parquet")).to_pylist()
    assert [(line["recipe"], line["model_bytes"]) for line in table] == [(row.recipe, row.model_bytes) for row in rows]


def test_a_column_that_the_first_row_lacks_is_written_too(records, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra report")
    last = records[-2]
    counts = tuple(Measurement(name, (7.0,), "counted: x") for name in ("flash_bytes", "ram_bytes", "instructions"))
    counted = dataclasses.replace(last, cell=dataclasses.replace(last.cell, target="cortex-m4"), measurements=counts)
    few = [record for record in records if record.cell.recipe in ("", last.cell.recipe)]
    written = write_all([*few, counted], 0.9, tmp_path, "study").files["parquet"]
    lines = parquet.read_table(written).to_pylist()
    assert [line["cortex-m4_flash_bytes"] for line in lines if line["recipe"] == last.cell.recipe] == [None, None, 7]


@pytest.fixture
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("needs Debian's chromium")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_in_a_real_browser_it_filters_sorts_searches_and_opens_records(written, browser, width):
    tab = browser.new_page(viewport={"width": width, "height": 900})
    problems = []
    tab.on("console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on("request", lambda request: problems.append(request.url) if request.url.startswith("http") else None)
    tab.goto(written.as_uri())
    tab.wait_for_selector("#plot-frontier .main-svg")
    assert tab.title().startswith("A </script>")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    everything = len(SHARES) * 3 + 3 + 1
    assert tab.text_content("#count") == f"{everything} of {everything} cells"
    assert tab.locator("#plots-curves .plot").count() == 2

    tab.select_option("#filter-algorithm", "PPO")
    assert tab.text_content("#count").startswith(f"{len(SHARES) + 1} of")
    assert tab.locator("#table tbody tr").count() == len(SHARES) + 1
    tab.click("#filters button[type=reset]")
    tab.wait_for_function(f"document.getElementById('count').textContent.startsWith('{everything} of')")

    tab.focus("#table th button[data-key=bytes]")
    tab.keyboard.press("Enter")
    column = [key.strip() for key in tab.locator("#table th").all_inner_texts()].index("bytes")

    def shown():
        cells = tab.locator(f"#table tbody tr td:nth-child({column + 1})").all_inner_texts()
        return [int(cell.replace(",", "")) for cell in cells if cell != "-"]

    assert shown() == sorted(shown())
    assert tab.get_attribute("#table th[aria-sort]", "aria-sort") == "ascending"
    tab.keyboard.press("Enter")
    assert shown() == sorted(shown(), reverse=True)
    assert np.ptp(shown()) > 0

    tab.fill("#search", "weight_bits=4 ppo")
    assert tab.locator("#table tbody tr").count() == 1
    tab.click("#table tbody tr button")
    assert "quantize(weight_bits=4)" in tab.inner_text("#detail")
    assert re.fullmatch(r"records/[0-9a-f]{64}\.json", tab.get_attribute("#detail a", "href"))
    tab.keyboard.press("Escape")

    for plot in ("heat", "improvement"):
        boxes = [label.bounding_box() for label in tab.locator(f"#plot-{plot} .ytick text").all()]
        tops = sorted((box["y"], box["y"] + box["height"]) for box in boxes)
        assert len(boxes) > 2
        assert min(box["x"] for box in boxes) >= 0
        assert all(above[1] <= below[0] for above, below in itertools.pairwise(tops))

    before = tab.evaluate("document.documentElement.dataset.theme")
    tab.click("#theme")
    assert tab.evaluate("document.documentElement.dataset.theme") != before
    assert problems == []
