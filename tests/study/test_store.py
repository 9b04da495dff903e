import shutil
import uuid

import pytest
from tests.study.test_study import SHORT, study_file

from lilliput.errors import LilliputError
from lilliput.study.conduct import conduct, records
from lilliput.study.document import read_study
from lilliput.study.local import Local
from lilliput.study.plan import plan
from lilliput.study.store import open_store

pytest.importorskip("fsspec", reason="needs the extra store")


@pytest.fixture(params=["memory", "file"])
def url(request, tmp_path):
    return f"memory://{uuid.uuid4()}/study" if request.param == "memory" else f"file://{tmp_path}/shared"


@pytest.fixture
def path(balancer, tmp_path):
    return study_file(tmp_path, balancer, SHORT)


def ran(path, folder, url):
    study, seen = read_study(path), []
    conduct(study, plan(study), folder, Local(1), lambda _, record: seen.append(record), store=open_store(url))
    return [record for record in seen if record is not None]


def test_what_one_machine_did_another_takes_from_the_store(path, tmp_path, url):
    first = ran(path, tmp_path / "one", url)
    assert len(first) == 6
    assert ran(path, tmp_path / "two", url) == []
    assert list(records(tmp_path / "two")) == list(records(tmp_path / "one"))


def test_a_damaged_record_in_the_store_is_run_again(path, tmp_path, url):
    digest = ran(path, tmp_path / "one", url)[-1].cell.digest
    store = open_store(url)
    store.filesystem.pipe_file(f"{store.root}/records/{digest}.json", b'{"cell":')
    assert [record.cell.digest for record in ran(path, tmp_path / "two", url)] == [digest]
    assert ran(path, tmp_path / "three", url) == []


def test_an_artifact_in_the_store_is_whole(path, tmp_path, url):
    from lilliput.policies.export import check

    record = ran(path, tmp_path / "one", url)[-1]
    store = open_store(url)
    store.filesystem.get(f"{store.root}/{record.artifact}/", f"{tmp_path}/copy/", recursive=True)
    assert check(tmp_path / "copy").ok
    shutil.rmtree(tmp_path / "one")


def test_a_url_of_no_known_kind_is_said():
    with pytest.raises(LilliputError, match=r"--store nowhere://x: .*s3://bucket/study"):
        open_store("nowhere://x")
