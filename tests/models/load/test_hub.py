"""Hub ids: what is fetched, from which commit, offline and from a hub that is served here."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from click.testing import CliRunner
from tests.models.made import small_folder, text_file

from lilliput.cli import cli
from lilliput.errors import LilliputError
from lilliput.models.load import is_named, load_model
from lilliput.study.document import read_study
from lilliput.study.plan import plan

pytest.importorskip("transformers")
constants = pytest.importorskip("huggingface_hub").constants

pytestmark = pytest.mark.frameworks

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_folder(tmp_path_factory.mktemp("small") / "model")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def fetched(folder, cache, monkeypatch):
    """A cache that has the model, as the hub's client leaves it, and no network."""
    where = cache / "models--somebody--small"
    (where / "refs").mkdir(parents=True)
    (where / "refs" / "main").write_text(COMMIT)
    (where / "snapshots").mkdir()
    (where / "snapshots" / COMMIT).symlink_to(folder, target_is_directory=True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def test_what_was_fetched_is_read_offline_and_its_commit_is_recorded(folder, fetched):
    found = load_model("somebody/small")
    assert found.digest == load_model(str(folder)).digest
    assert (found.provenance.source, found.provenance.revision) == ("somebody/small", COMMIT)
    assert f"pin it as somebody/small@{COMMIT}" in found.provenance.guesses[0]
    assert load_model(f"somebody/small@{COMMIT}").provenance.guesses == ()
    with pytest.raises(LilliputError, match="is no file here, and as a hub id it was not fetched before"):
        load_model("somebody/large")
    with pytest.raises(LilliputError, match="at 'v2' it was not fetched before"):
        load_model("somebody/small@v2")
    with pytest.raises(LilliputError, match="a model of language; --family detection does not fit"):
        load_model("somebody/small", family="detection")


def test_compare_and_a_study_take_a_hub_id(fetched, tmp_path, monkeypatch):
    text = text_file(tmp_path / "text.utf8")
    task = f"perplexity(text={str(text)!r}, windows=4, tokens=32)"
    command = ["compare", "somebody/small", "--task", task, "-r", "half()", "--no-timings", "--workers", "1"]
    result = CliRunner().invoke(cli, [*command, "-o", str(tmp_path / "out"), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [row["status"] for row in found["rows"]] == ["done", "done"]
    assert COMMIT in found["guesses"][0]
    shown = CliRunner().invoke(cli, ["show", "somebody/small", "--family", "language", "--json"])
    assert json.loads(shown.stdout)["revision"] == COMMIT
    study = tmp_path / "study.toml"
    study.write_text(f"models = ['somebody/small@{COMMIT}']\ntasks = [{json.dumps(task)}]\nrecipes = ['half()']\n")
    subjects: Any = plan(read_study(study)).subjects
    assert [one.provenance.source for one in subjects.values()] == ["somebody/small"]


def test_a_slip_in_a_path_asks_no_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    assert not is_named("results/model.onnx")
    result = CliRunner().invoke(cli, ["show", "results/model.onnx"])
    assert result.exit_code == 2
    assert "does not exist" in result.output
    with pytest.raises(LilliputError, match="where it is a model's hub id, say what it answers to: --family"):
        CliRunner().invoke(cli, ["show", "somebody/small"], catch_exceptions=False)


def hub_of(folder, asked):
    """What answers the few requests that the hub's client makes, from a folder."""

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer()

        def do_GET(self):
            self.answer()

        def answer(self):
            asked.append(self.path)
            files = {path.name: path.read_bytes() for path in folder.iterdir()}
            if "/tree/" in self.path:
                rows = [{"type": "file", "path": name, "size": len(data), "oid": name} for name, data in files.items()]
                return self.send(json.dumps(rows).encode())
            if self.path.startswith("/api/models/somebody/small"):
                rows = [{"rfilename": name} for name in files]
                return self.send(json.dumps({"id": "somebody/small", "sha": COMMIT, "siblings": rows}).encode())
            name = self.path.rsplit("/", 1)[-1]
            return self.send(files[name]) if name in files else self.send_error(404)

        def send(self, data):
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("ETag", f'"{hash(data)}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        def log_message(self, format, *args):
            pass

    return Hub


def test_no_pickle_and_no_code_of_a_repository_is_fetched(folder, cache, tmp_path, monkeypatch):
    served = tmp_path / "served"
    served.mkdir()
    for path in folder.iterdir():
        (served / path.name).write_bytes(path.read_bytes())
    (served / "pytorch_model.bin").write_bytes(b"never asked for")
    (served / "modeling_small.py").write_text("raise SystemExit('never run')")
    asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), hub_of(served, asked)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", endpoint)
        try:
            found = load_model("somebody/small")
        finally:
            server.shutdown()
    assert found.digest == load_model(str(folder)).digest
    assert found.provenance.revision == COMMIT
    names = {path.rsplit("/", 1)[-1] for path in asked}
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= names
    assert not {"pytorch_model.bin", "modeling_small.py"} & names
