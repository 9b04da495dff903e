"""Where torch computes: what is named and not there is refused before anything is loaded or written."""

import pytest
from click.testing import CliRunner
from tests.models.made import small_folder

from lilliput.cli import cli
from lilliput.errors import LilliputError
from lilliput.models.device import DEVICE, device

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

pytestmark = pytest.mark.frameworks


def test_a_device_that_torch_does_not_see_is_one_line(tmp_path, monkeypatch):
    monkeypatch.delenv(DEVICE, raising=False)
    assert device() == "cpu"
    for name, message in (("tpu", "write cpu, cuda or cuda:1"), ("cuda:42", "torch sees . of that kind here")):
        monkeypatch.setenv(DEVICE, name)
        with pytest.raises(LilliputError, match=message):
            device()
        monkeypatch.delenv(DEVICE)
        command = ["compress", str(tmp_path), "-r", "half()", "-o", str(tmp_path / "out"), "--device", name]
        with pytest.raises(LilliputError, match=message):
            CliRunner().invoke(cli, command, catch_exceptions=False)
    monkeypatch.delenv(DEVICE, raising=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no graphics card here")
def test_a_graphics_card_gives_the_same_model(tmp_path, monkeypatch):
    from lilliput.models.compress import compress
    from lilliput.models.load import load_model

    folder, recipe = str(small_folder(tmp_path / "model")), "quantize(weight_bits=4, group_size=16)"
    here = compress(load_model(folder), recipe)
    monkeypatch.setenv(DEVICE, "cuda")
    assert compress(load_model(folder), recipe).digest == here.digest
