"""What TorchScript programs take: sizes that only a product tells, several values; and what is said of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.policies.load.torchscript import agree, mlp, saved

from lilliput.errors import LilliputError
from lilliput.policies import reference, spaces
from lilliput.policies.load import load_policy

torch = pytest.importorskip("torch")
nn = torch.nn
pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning"),
]


class Commanded(nn.Module):
    """An observation and a command, of which the first is normalized."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()
        self.register_buffer("mean", torch.randn(4))

    def forward(self, obs, command):
        return self.net(torch.cat([(obs - self.mean) * 0.5, command], -1))


class Unread(nn.Module):
    """An ELU, which has both forms of itself in torch's source, before what is not followed."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()

    def forward(self, x):
        y = self.net(x)
        return y.expand_as(y)


class Writes(Unread):
    def forward(self, x):
        y = self.net(x)
        y.clamp_(-1.0, 1.0)
        return y.expand_as(y)


def test_a_program_optimized_for_inference_tells_its_size_by_products(tmp_path: Path) -> None:
    program = torch.jit.optimize_for_inference(torch.jit.script(mlp().eval()))
    program.save(str(tmp_path / "policy.pt"))
    policy = load_policy(tmp_path / "policy.pt")
    assert spaces.input_shape(policy.observation_space) == (6,)
    agree(policy, program)


def test_several_values_are_refused_with_a_way_out_that_works(tmp_path: Path) -> None:
    path = tmp_path / "policy.pt"
    program: Any = saved(Commanded(), "script", path)
    with pytest.raises(LilliputError, match=r"takes 2 values \(obs, command\); supported: one observation") as caught:
        load_policy(path)
    assert "input_names=['obs', 'command']" in str(caught.value)
    assert "writes in place" not in str(caught.value)
    names, examples = ["obs", "command"], (torch.zeros(1, 4), torch.zeros(1, 2))
    torch.onnx.export(torch.jit.load(path), examples, str(tmp_path / "policy.onnx"), dynamo=False, input_names=names)
    policy = load_policy(tmp_path / "policy.onnx")
    x = np.random.default_rng(0).normal(size=(1000, 6)).astype(np.float32)
    with torch.no_grad():
        wanted = program(torch.tensor(x[:, :4]), torch.tensor(x[:, 4:])).numpy()
    np.testing.assert_allclose(reference.act(policy, x), wanted, atol=1e-5)


@pytest.mark.parametrize(("module", "writes"), [(Unread, False), (Writes, True)])
def test_only_a_program_that_writes_in_place_is_said_to(module: Any, writes: bool, tmp_path: Path) -> None:
    saved(module(), "script", tmp_path / "policy.pt")
    with pytest.raises(LilliputError, match="expand_as") as caught:
        load_policy(tmp_path / "policy.pt")
    assert ("in place" in str(caught.value)) == writes
