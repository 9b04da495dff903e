"""Data sets of a hub as calibration text: what `datasets` itself keeps of one, read where no network is allowed."""

import json

import pytest
from click.testing import CliRunner
from tests.models.made import text_file

from lilliput.cli import cli
from lilliput.errors import LilliputError, MissingDependency
from lilliput.models.data_set import DIVIDER, MOST
from lilliput.models.location import digest, locate
from lilliput.models.text import read_text

pytestmark = pytest.mark.frameworks

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40
NAME = f"hub:somebody/small@{COMMIT}"


@pytest.fixture
def library():
    return pytest.importorskip("datasets", reason="needs the extra datasets")


@pytest.fixture
def kept(library, tmp_path, monkeypatch):
    """A cache with one commit of a data set of two splits, as the library writes what it fetched; the documents."""
    maker = pytest.importorskip("datasets.packaged_modules.json.json").Json
    text = text_file(tmp_path / "documents.txt", seed=3, n_documents=40).read_text().split(DIVIDER)
    rows = [{"url": f"https://{n}", "text": one, "n": n} for n, one in enumerate(text)]
    (tmp_path / "rows").mkdir()
    for split, some in (("train", rows), ("test", rows[:5])):
        (tmp_path / "rows" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("LILLIPUT_CACHE", str(tmp_path / "ours"))
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    from lilliput.compiler import cache_folder

    cache_folder.cache_clear()
    builder = maker(
        dataset_name="small",
        config_name="default",
        hash=COMMIT,
        data_files={split: str(tmp_path / "rows" / f"{split}.jsonl") for split in ("train", "test")},
        cache_dir=str(tmp_path / "elsewhere"),
    )
    builder.download_and_prepare(str(tmp_path / "cache" / "somebody___small" / "default" / "0.0.0" / COMMIT))
    yield text
    cache_folder.cache_clear()


def test_the_documents_of_a_pinned_data_set_are_one_text(kept):
    path = locate(NAME)
    assert path.read_text() == DIVIDER.join(kept)
    assert locate(NAME) == path
    assert read_text(NAME, "calibration") + read_text(NAME, "held_out") == path.read_text()
    some = locate(f"hub:somebody/small:test@{COMMIT}")
    assert some.read_text() == DIVIDER.join(kept[:5])
    assert locate(f"hub:somebody/small:test#url@{COMMIT}").read_text().startswith("https://0<|endoftext|>https://1")
    assert digest(NAME) != digest(f"hub:somebody/small:test@{COMMIT}")


def test_another_commit_than_the_one_that_is_here_is_refused(kept):
    with pytest.raises(LilliputError, match="at ffffffffffff was not fetched before, and HF_HUB_OFFLINE forbids the"):
        locate(f"hub:somebody/small@{OTHER}")
    with pytest.raises(LilliputError, match="somebody/large at 0123456789ab was not fetched before"):
        locate(f"hub:somebody/large@{COMMIT}")
    with pytest.raises(LilliputError, match=r"was not fetched before.*validation"):
        locate(f"hub:somebody/small:validation@{COMMIT}")
    with pytest.raises(LilliputError, match=r"has no text in 'n'; name one of: \['url', 'text'\]"):
        locate(f"hub:somebody/small#n@{COMMIT}")


def test_a_folder_of_that_name_is_no_data_set_of_the_hub(kept, tmp_path):
    (tmp_path / "somebody" / "large").mkdir(parents=True)
    (tmp_path / "somebody" / "large" / "train.jsonl").write_text('{"text": "ours"}\n')
    with pytest.raises(LilliputError, match="what is here of that name is another"):
        locate(f"hub:somebody/large@{COMMIT}")


def test_only_the_beginning_of_a_large_one_is_read(kept, monkeypatch):
    monkeypatch.setattr("lilliput.models.data_set.MOST", sum(map(len, kept[:7])))
    assert locate(NAME).read_text() == DIVIDER.join(kept[:7])
    assert MOST > 1 << 20


def test_a_recipe_calibrates_on_it(kept, tmp_path):
    pytest.importorskip("transformers")
    from tests.models.made import small_folder

    model, text = small_folder(tmp_path / "model"), text_file(tmp_path / "text.txt", seed=9)
    recipe = f'prune_weights(sparsity=0.5, importance="wanda", source="{NAME}", samples=4, tokens=32)'
    task = f'perplexity(text="{text}", windows=4, tokens=32)'
    command = ["compare", str(model), "--task", task, "-r", recipe, "--no-timings", "--workers", "1", "--json"]
    found = json.loads(CliRunner().invoke(cli, [*command, "-o", str(tmp_path / "out")], catch_exceptions=False).stdout)
    assert [row["status"] for row in found["rows"]] == ["done", "done"]
    assert COMMIT in found["rows"][1]["recipe"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hub:small", "is no data set of the hub; write hub:ORGANIZATION/NAME"),
        ("hub:somebody/small", "no commit is named, so it may be another text tomorrow"),
        ("hub:somebody/small@main", "'main' is no commit"),
    ],
)
def test_what_is_not_pinned_is_refused_whether_or_not_the_library_is_here(name, said):
    with pytest.raises(LilliputError, match=said):
        locate(name)


def test_what_to_install_is_said(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    monkeypatch.setenv("LILLIPUT_CACHE", str(tmp_path))
    from lilliput.compiler import cache_folder

    cache_folder.cache_clear()
    with pytest.raises(MissingDependency, match=r"pip install 'lilliput\[datasets\]'"):
        locate(NAME)
    cache_folder.cache_clear()
