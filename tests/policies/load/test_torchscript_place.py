"""TorchScript programs that write in place, remember, or cast: each is what torch computes, or refused."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lilliput.errors import LilliputError
from lilliput.policies import reference
from lilliput.policies.load import load_policy

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")]


def written(path: Path, *lines: str, me: str = "self") -> Any:
    """The program with these lines behind `y = self.net(x)`, in the file."""
    torch.manual_seed(0)
    module = torch.nn.Module()
    module.net = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ELU(), torch.nn.Linear(8, 4))
    module.register_buffer("a", torch.zeros(1, 4))
    module.register_buffer("p", torch.zeros(1, 6))
    module.register_buffer("gain", torch.tensor([1.7, 2.9, 0.6, 3.2]))
    module.register_buffer("bytes", torch.tensor([200, 100, 255, 9], dtype=torch.uint8))
    module.register_buffer("longs", torch.tensor([2, 1, 3, 9]))
    setattr(module, f"of_{zlib.crc32(repr(lines).encode())}", 0)  # modules of the same attributes share their methods
    program = torch.jit.script(module.eval())
    source = "\n  ".join(("def forward(self, x):", "y = self.net(x)", *lines)) + "\n"
    program.define(source.replace("self", me))
    program.save(str(path))
    return program


@pytest.mark.parametrize(
    "lines",
    [
        ("y[:, 0:2] *= 0.25", "return y"),
        ("y[:, -1] *= 0.", "return y"),
        ("y[:, 0::2].mul_(0.5)", "return y"),
        ("y[:, 1].sigmoid_()", "return y"),
        ("y.view(-1).clamp_(-0.1, 0.1)", "return y"),
        ("y.reshape(-1).clamp_(-0.1, 0.1)", "return y"),
        ("y.flatten().tanh_()", "return y"),
        ("y.squeeze(0).tanh_()", "return y"),
        ("y.unsqueeze(0).tanh_()", "return y"),
        ("y.transpose(0, 1).mul_(2.)", "return y"),
        ("y.permute(1, 0).mul_(2.)", "return y"),
        ("y.narrow(1, 0, 2).mul_(2.)", "return y"),
        ("y.detach().relu_()", "return y"),
        ("y.contiguous().relu_()", "return y"),
        ("y.to(torch.float).relu_()", "return y"),
        ("z = torch.dropout(y, 0.5, False)", "z.relu_()", "return y * z.size(0)"),
        ("torch.split(y, [2, 2], 1)[0].mul_(3.)", "return y"),
        ("torch.chunk(y, 2, 1)[1].mul_(3.)", "return y"),
        ("a = y[:, :3]", "y.tanh_()", "return a"),
        ("a = y.view(-1, 4)", "y.mul_(2.).tanh_()", "return a"),
        ("a = y[:, :3].view(-1)", "y.view(-1)[0:2].tanh_()", "return a"),
        ("y.view(-1).tanh_()", "return (y, x)"),
        ("y.clone()[:, 0:2].mul_(2.)", "y[:, 0:2].mul_(2.)", "return (y, x)"),
    ],
)
def test_what_was_written_through_another_value_is_not_used(lines: tuple[str, ...], tmp_path: Path) -> None:
    written(tmp_path / "a.pt", *lines)
    with pytest.raises(LilliputError, match="used again that was overwritten in place, through a view") as caught:
        load_policy(tmp_path / "a.pt", output="0" if "return (" in lines[-1] else None)
    assert "torch.onnx.export(torch.jit.load(" not in str(caught.value)


@pytest.mark.parametrize(
    "lines",
    [
        ("y.clamp_(-0.1, 0.1)", "return y"),
        ("y *= 0.25", "y.tanh_().clamp_(-0.1, 0.1)", "return y"),
        ("z = y", "z.mul_(2.)", "return y + 0.5"),
        ("y.clone().tanh_()", "return y"),
        ("z = y.view(-1, 4)", "z.tanh_()", "return z"),
        ("x.sub_(1.).div_(2.)", "return self.net(x)"),
        ("h = x.clone()", "h.mul_(0.1)", "return self.net(x)"),
        ("y.unsqueeze_(0)", "return y.squeeze(0)"),
        ("return y * self.longs.to(torch.float)",),
        ("return y * (self.longs + self.longs)",),
        ("return y * (self.longs / 2)",),
        ("return y * self.bytes",),
        ("return y * self.gain.to(x.device)",),
        ("return y * self.gain.to(x.device, torch.float)",),
    ],
)
def test_what_is_written_in_place_has_all_of_its_names(lines: tuple[str, ...], tmp_path: Path) -> None:
    program = written(tmp_path / "a.pt", *lines)
    x = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    theirs = np.concatenate([program(torch.from_numpy(row[None].copy())).detach().numpy() for row in x])
    np.testing.assert_allclose(reference.act(load_policy(tmp_path / "a.pt"), x), theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "lines",
    [
        ("return self.a.add_(y)",),
        ("self.a += y", "return torch.tanh(y)"),
        ("z = self.net(x - self.p)", "self.p.add_(x - self.p)", "return z"),
        ("return self.net(self.p.mul_(0.5).add_(x))",),
        ("self.a.clamp_(0., 1.)", "return y"),
        ("self.a.view(-1).add_(y.view(-1))", "return y"),
        ("self.a.copy_(y)", "return y"),
        ("self.a = self.a + y", "return self.a"),
    ],
)
def test_a_buffer_that_changes_is_a_memory(lines: tuple[str, ...], tmp_path: Path) -> None:
    written(tmp_path / "a.pt", *lines)
    with pytest.raises(LilliputError, match=r"a memory\?") as caught:
        load_policy(tmp_path / "a.pt")
    assert "torch.onnx.export(torch.jit.load(" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("return y * self.gain.to(torch.long).to(torch.float)", "cast to another type"),
        ("return y * self.gain.to(torch.half).to(torch.float)", "cast to another type"),
        ("return y * self.gain.to(torch.int32)", "cast to another type"),
        ("return y * self.gain.to(x.device, torch.uint8)", "cast to another type"),
        ("return y * self.gain.to(torch.bool)", "cast to another type"),
        ("return y.to(torch.long).to(torch.float)", "cast to another type"),
        ("return y.to(torch.bfloat16).to(torch.float)", "cast to another type"),
        ("return y.to(x.device, torch.half).to(torch.float)", "cast to another type"),
        ("return y * (self.bytes + self.bytes)", "integers of less than 64 bits"),
        ("return y * (-self.bytes)", "integers of less than 64 bits"),
        ("return y * (self.bytes * 2)", "integers of less than 64 bits"),
        ("return y * (self.longs // 2)", "floor_divide"),
        ("return y * (7.5 // float(y.size(1)))", "no integers with //"),
    ],
)
def test_a_type_that_rounds_or_wraps_is_refused(line: str, message: str, tmp_path: Path) -> None:
    written(tmp_path / "a.pt", line)
    with pytest.raises(LilliputError, match=message):
        load_policy(tmp_path / "a.pt")


def test_the_way_out_of_a_program_that_writes_in_place_says_to_compare(tmp_path: Path) -> None:
    sums = ("z = torch.roll(y, 1, 1)", "self.a = self.a + z", "return z")
    scaled = ("y.mul_(2.)", "return torch.roll(y, 1, 1)")
    for lines, said in (
        (("y.zero_()", "return y"), False),
        (scaled, True),
        (sums, True),
    ):
        written(tmp_path / "a.pt", *lines, me="this")
        with pytest.raises(LilliputError, match=r"operator '(zero_|roll)'") as caught:
            load_policy(tmp_path / "a.pt")
        assert ("compare it with this file, which writes in place" in str(caught.value)) == said
        assert ("torch.onnx.export(torch.jit.load(" in str(caught.value)) == said


def test_half_precision_is_said(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)).half().eval()
    torch.jit.script(module).save(str(tmp_path / "a.pt"))
    policy = load_policy(tmp_path / "a.pt")
    assert any("numbers of 16 bits" in guess for guess in policy.provenance.guesses)
    x = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float16)
    theirs = module(torch.from_numpy(x)).detach().float().numpy()
    np.testing.assert_allclose(reference.act(policy, x.astype(np.float32)), theirs, atol=2e-3)


def test_a_real_action_is_no_softmax(tmp_path: Path) -> None:
    written(tmp_path / "a.pt", "return torch.softmax(y, -1)")
    with pytest.raises(LilliputError, match="ends in probabilities of choices; leave action='continuous' away"):
        load_policy(tmp_path / "a.pt", action="continuous")
