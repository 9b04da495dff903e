"""Choices and joins in TorchScript: over the axis of the numbers, never over that of the observations."""

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
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning", "ignore::UserWarning", "ignore:.*:torch.jit.TracerWarning"
    ),
]


class OverAxis(nn.Module):
    def __init__(self, dim: int, choice: bool) -> None:
        super().__init__()
        self.n, self.dim, self.choice = mlp(), dim, choice

    def forward(self, x):
        y = self.n(x)
        return torch.argmax(y, dim=self.dim) if self.choice else torch.softmax(y, dim=self.dim)


@pytest.mark.parametrize("choice", [True, False])
@pytest.mark.parametrize("how", ["script", "freeze", (1, 6), (3, 6)])
def test_a_choice_over_the_axis_of_the_observations_is_refused(how: Any, choice: bool, tmp_path: Path) -> None:
    path = tmp_path / "policy.pt"
    shape, how = (how, "trace") if isinstance(how, tuple) else ((1, 6), how)
    saved(OverAxis(0, choice), how, path, shape)
    with pytest.raises(LilliputError, match="works over axis 0, which holds the observations"):
        load_policy(path)


class Joined(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 2), nn.Linear(6, 2)

    def forward(self, x):
        return torch.cat([self.a(x), self.b(x)], 0)


@pytest.mark.parametrize("shape", [None, (1, 6), (6,)])
def test_values_are_joined_over_axis_0_only_where_the_trace_shows_an_observation_alone(
    shape: tuple[int, ...] | None, tmp_path: Path
) -> None:
    path = tmp_path / "policy.pt"
    program = saved(Joined(), "script" if shape is None else "trace", path, shape or (1, 6))
    if shape != (6,):
        with pytest.raises(LilliputError, match="cat works over axis 0, which holds the observations"):
            load_policy(path)
        return
    x = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
    theirs = np.stack([program(one).detach().numpy() for one in torch.from_numpy(x)])
    np.testing.assert_allclose(reference.act(load_policy(path), x), theirs, atol=1e-6)


@pytest.mark.parametrize("choice", [True, False])
@pytest.mark.parametrize("dim", [0, -1])
def test_a_choice_over_axis_0_is_read_where_the_trace_shows_an_observation_alone(
    dim: int, choice: bool, tmp_path: Path
) -> None:
    program = saved(OverAxis(dim, choice), "trace", tmp_path / "policy.pt", (6,))
    policy = load_policy(tmp_path / "policy.pt")
    assert policy.action_space == spaces.Discrete(3)
    x = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
    theirs = [int(torch.argmax(y) if y.ndim else y) for y in map(program, torch.from_numpy(x))]
    np.testing.assert_array_equal(reference.act(policy, x), theirs)


def test_an_axis_that_a_value_has_not_is_refused(tmp_path: Path) -> None:
    torch.jit.script(OverAxis(-3, True)).save(str(tmp_path / "policy.pt"))
    with pytest.raises(LilliputError, match="the axis -3 of a value with 2 axes"):
        load_policy(tmp_path / "policy.pt")


class Quantiles(nn.Module):
    """QR-DQN's head: numbers of three actions, of each the mean."""

    def __init__(self, first: bool, choice: bool) -> None:
        super().__init__()
        self.n, self.first, self.choice = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 75)), first, choice

    def forward(self, x):
        y = self.n(x).view(-1, 25, 3).mean(dim=1) if self.first else self.n(x).view(-1, 3, 25).mean(2)
        return torch.argmax(y, dim=1) if self.choice else y


@pytest.mark.parametrize("choice", [True, False])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("how", ["script", "trace"])
def test_qr_dqn_is_read_where_the_program_takes_the_mean_of_its_quantiles(
    how: Any, first: bool, choice: bool, tmp_path: Path
) -> None:
    program = saved(Quantiles(first, choice), how, tmp_path / "policy.pt", (1, 6))
    policy = load_policy(tmp_path / "policy.pt", action=None if choice else "discrete")
    assert policy.action_space == spaces.Discrete(3)
    x = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)
    theirs = program(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_array_equal(reference.act(policy, x), theirs if choice else theirs.argmax(axis=1))


class Table(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.n = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 6))

    def forward(self, x):
        return torch.argmax(self.n(x).view(-1, 2, 3), dim=-1)


@pytest.mark.parametrize("how", ["script", "trace"])
def test_an_argmax_of_each_row_is_a_multi_discrete_action(how: Any, tmp_path: Path) -> None:
    program = saved(Table(), how, tmp_path / "policy.pt", (1, 6))
    policy = load_policy(tmp_path / "policy.pt")
    assert policy.action_space == spaces.MultiDiscrete((3, 3))
    x = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)
    np.testing.assert_array_equal(reference.act(policy, x), program(torch.from_numpy(x)).numpy())


@pytest.mark.parametrize("how", ["script", "trace", "freeze"])
@pytest.mark.parametrize(
    ("taken", "of"),
    [
        (lambda y: y[:, [2, 0, -1]], "outputs"),
        (lambda y: torch.flip(y, [1]), "outputs"),
        (lambda y: torch.index_select(y, 1, torch.tensor([1, 0, 2])), "outputs"),
        (lambda y: torch.stack([y[:, 2], y[:, 0]], 1), "outputs"),
        (lambda y: torch.stack([y[:, :2], y[:, 1:]], -1).flatten(1), "outputs"),
        (lambda x: x[:, [5, 3, 3, 0, 1, 2]], "observation"),
        (lambda x: x.flip(-1), "observation"),
    ],
)
def test_numbers_are_taken_where_torch_takes_them(taken: Any, of: str, how: str, tmp_path: Path) -> None:
    class Taking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.n = mlp()

        def forward(self, x):
            return taken(self.n(x)) if of == "outputs" else self.n(taken(x))

    # torch.jit.script reads the source of `forward`, and no lambda in it: what was traced is scripted again.
    program = torch.jit.trace(Taking().eval(), torch.zeros(1, 6))
    if how == "freeze":
        program = torch.jit.freeze(program)
    program.save(str(tmp_path / "policy.pt"))
    if how == "script":
        program = saved(Wrapped(program), "script", tmp_path / "policy.pt")
    if how == "trace" or of == "outputs":
        agree(load_policy(tmp_path / "policy.pt"), program)
        return
    with pytest.raises(LilliputError, match=r"whose size is not in the file: name the environment \(--env\)"):
        load_policy(tmp_path / "policy.pt")


class Wrapped(nn.Module):
    def __init__(self, inside: Any) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, x):
        return self.inside(x)


@pytest.mark.parametrize(
    ("take", "message"),
    [
        (lambda y: torch.flip(y, [0]), "flip works over axis 0, which holds the observations"),
        (lambda y: torch.stack([y, y], 0)[0], "stack|cat works over axis 0|works over axis 0"),
        (lambda y: y[:, torch.argsort(y[0])], "argsort"),
        (lambda y: y[[0, 0], [1, 2]], "places of several axes at once"),
    ],
)
def test_what_takes_numbers_otherwise_is_refused(take: Any, message: str, tmp_path: Path) -> None:
    class Taking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.n = mlp()

        def forward(self, x):
            return take(self.n(x))

    torch.jit.trace(Taking().eval(), torch.zeros(1, 6)).save(str(tmp_path / "policy.pt"))
    with pytest.raises(LilliputError, match=message):
        load_policy(tmp_path / "policy.pt")


@pytest.mark.parametrize(
    "change",
    [
        torch.sin, torch.cos, torch.tan, torch.atan, torch.exp, torch.abs, torch.sign, torch.floor, torch.ceil,
        torch.round, lambda y: torch.log(torch.sigmoid(y)), lambda y: torch.remainder(y, 1.0), nn.functional.softsign,
        lambda y: torch.fmod(y, 1.0), lambda y: torch.where(y > 0.1, y, y * 0.5), lambda y: torch.cumsum(y, 1),
        lambda y: y.topk(1, 1)[0], lambda y: y.argmin(1), lambda y: y.sum(1, keepdim=True), lambda y: y - torch.tanh(y),
    ],
)  # fmt: skip
def test_where_no_way_out_is_named_there_is_none(change: Any, tmp_path: Path) -> None:
    class Changed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.n = mlp()

        def forward(self, x):
            return change(self.n(x))

    module = Changed().eval()
    torch.jit.trace(module, torch.zeros(1, 6)).save(str(tmp_path / "policy.pt"))
    with pytest.raises(LilliputError, match="an ONNX file of the same network is refused too") as caught:
        load_policy(tmp_path / "policy.pt")
    assert "with these attributes" not in str(caught.value)
    torch.onnx.export(module, (torch.zeros(1, 6),), str(tmp_path / "policy.onnx"), dynamo=False)
    with pytest.raises(LilliputError, match=r"not supported|part of no layer|no layer computes|joins two values"):
        load_policy(tmp_path / "policy.onnx")
