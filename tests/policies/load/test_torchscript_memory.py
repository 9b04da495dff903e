"""TorchScript programs with an LSTM or a GRU whose memory stands in buffers: what torch does, step by step."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference
from lilliput.policies.load import load_policy

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning", "ignore::UserWarning", "ignore:.*:torch.jit.TracerWarning"
    ),
]

STEPS = 50


def by_torch(path: Path, x: np.ndarray) -> np.ndarray:
    """What the program gives at each step, from what its file holds."""
    module = torch.jit.load(path)
    with torch.no_grad():
        return np.stack([module(torch.from_numpy(row[None])).numpy()[0] for row in x])


def walk(inputs: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.cumsum(rng.normal(0, 0.2, (STEPS, inputs)), axis=0).astype(np.float32)


class Lstm(torch.nn.Module):
    """As rsl_rl exports it."""

    def __init__(self, first: float, levels: int) -> None:
        super().__init__()
        self.rnn = torch.nn.LSTM(5, 6, levels)
        self.actor = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.ELU(), torch.nn.Linear(4, 2))
        self.register_buffer("hidden_state", torch.full((levels, 1, 6), first))
        self.register_buffer("cell_state", torch.full((levels, 1, 6), -first))

    def forward(self, x):
        x, (h, c) = self.rnn(x.unsqueeze(0), (self.hidden_state, self.cell_state))
        self.hidden_state[:] = h
        self.cell_state[:] = c
        return self.actor(x.squeeze(0))


class Gru(torch.nn.Module):
    """The same with a GRU, and statistics before it."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = torch.nn.GRU(5, 6)
        self.actor = torch.nn.Linear(6, 2)
        self.register_buffer("mean", torch.arange(5.0))
        self.register_buffer("hidden_state", torch.zeros(1, 1, 6))

    def forward(self, x):
        x, h = self.rnn(((x - self.mean) / 2.5).unsqueeze(0), self.hidden_state)
        self.hidden_state[:] = h
        return torch.tanh(self.actor(x.squeeze(0)))


class Forgets(torch.nn.Module):
    """Its state is written nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.actor = torch.nn.GRU(5, 6), torch.nn.Linear(6, 2)
        self.register_buffer("hidden_state", torch.zeros(1, 1, 6))

    def forward(self, x):
        x, _ = self.rnn(x.unsqueeze(0), self.hidden_state)
        return self.actor(x.squeeze(0))


class OneBuffer(Lstm):
    """Both of its states stand in one, the second written last."""

    def forward(self, x):
        x, (h, c) = self.rnn(x.unsqueeze(0), (self.hidden_state, self.hidden_state))
        self.hidden_state[:] = h
        self.hidden_state[:] = c
        return self.actor(x.squeeze(0))


class OneStorage(Lstm):
    """Each of its states is a part of one storage, and these overlap."""

    def __init__(self, first: float, levels: int) -> None:
        super().__init__(first, levels)
        whole = torch.zeros(9)
        self.hidden_state, self.cell_state = whole[:6].view(1, 1, 6), whole[3:].view(1, 1, 6)


class ReadBefore(Lstm):
    """What is read of a state is a view: it holds the new one after that is written."""

    def forward(self, x):
        seen = self.hidden_state[0]
        x, (h, c) = self.rnn(x.unsqueeze(0), (self.hidden_state, self.cell_state))
        self.hidden_state[:] = h
        self.cell_state[:] = c
        return self.actor(x.squeeze(0)) * seen[:, :2]


class ToCopy(Lstm):
    """The new state is written to a copy of the buffer, which stays as it is."""

    def forward(self, x):
        copy = self.hidden_state.clone()
        x, (h, c) = self.rnn(x.unsqueeze(0), (copy, self.cell_state))
        copy[:] = h
        self.cell_state[:] = c
        return self.actor(x.squeeze(0)) * copy.size(1)


class OfCopies(Lstm):
    def forward(self, x):
        x, (h, c) = self.rnn(x.unsqueeze(0), (self.hidden_state.clone(), self.cell_state.clone()))
        self.hidden_state.copy_(h)
        self.cell_state.copy_(c)
        return self.actor(x.squeeze(0))


class ReadACopy(Lstm):
    """The action depends on the last state beside the LSTM, by a copy."""

    def forward(self, x):
        last = self.hidden_state.clone()
        x, (h, c) = self.rnn(x.unsqueeze(0), (self.hidden_state, self.cell_state))
        self.hidden_state[:] = h
        self.cell_state[:] = c
        return self.actor(x.squeeze(0)) + last.view(1, 6)[:, 0:2]


class Dropping(Lstm):
    """It drops outputs between its levels at random: the whole is saved after .eval(), its LSTM is not."""

    def __init__(self, first: float, levels: int) -> None:
        super().__init__(first, 2)
        self.rnn = torch.nn.LSTM(5, 6, 2, dropout=0.5)

    def eval(self):
        self.rnn.train()
        return self


class Leaking(Lstm):
    def forward(self, x):
        x, (h, c) = self.rnn(x.unsqueeze(0), (self.hidden_state, self.cell_state))
        self.hidden_state[:] = h * 0.5
        self.cell_state[:] = c
        return self.actor(x.squeeze(0))


class Cells(torch.nn.Module):
    """torch's LSTMCell and GRUCell, whose new states are written to their buffers, or are the buffers from then on."""

    def __init__(self, first: float = 0.0) -> None:
        super().__init__()
        self.normalizer = torch.nn.LayerNorm(5)
        self.rnn, self.second, self.actor = torch.nn.LSTMCell(5, 6), torch.nn.GRUCell(6, 4), torch.nn.Linear(4, 2)
        self.register_buffer("h", torch.full((1, 6), first))
        self.register_buffer("c", torch.full((1, 6), -first))
        self.register_buffer("g", torch.full((1, 4), first))
        self.register_buffer("other", torch.zeros(1, 4))

    def forward(self, x):
        h, c = self.rnn(self.normalizer(x), (self.h, self.c))
        self.h[:] = h
        self.c.copy_(c)
        self.g = self.second(h, self.g)
        return torch.tanh(self.actor(self.g))


class KeptThenChanged(Cells):
    """What the attribute was set to is written to afterwards, and the attribute with it."""

    def forward(self, x):
        h, c = self.rnn(x, (self.h, self.c))
        self.h, self.c = h, c
        g = self.second(h, self.g)
        self.g = g
        y = self.actor(g)
        g.mul_(0.5)
        return y


class ToAnother(Cells):
    """The new state of the GRU goes where nothing reads it."""

    def forward(self, x):
        h, c = self.rnn(x, (self.h, self.c))
        self.h, self.c = h, c
        g = self.second(h, self.g)
        self.other = g
        return self.actor(g)


class Swapped(Cells):
    def forward(self, x):
        h, c = self.rnn(x, (self.h, self.c))
        self.h, self.c = c, h
        g = self.second(h, self.g)
        self.g = g
        return self.actor(g)


class HalfOfIt(Cells):
    def forward(self, x):
        h, c = self.rnn(x, (self.h, self.c))
        self.h, self.c = h * 0.5, c
        g = self.second(h, self.g)
        self.g = g
        return self.actor(g)


class Anew(Cells):
    """The GRU's state is never kept."""

    def forward(self, x):
        h, c = self.rnn(x, (self.h, self.c))
        self.h, self.c = h, c
        return self.actor(self.second(h, self.g))


class Assigned(Gru):
    """The state of a torch.nn.GRU, kept by assigning to the attribute."""

    def forward(self, x):
        x, h = self.rnn(((x - self.mean) / 2.5).unsqueeze(0), self.hidden_state)
        self.hidden_state = h
        return torch.tanh(self.actor(x.squeeze(0)))


def saved(module: Any, path: Path) -> Path:
    torch.manual_seed(0)
    torch.jit.script(module.eval()).save(str(path))
    return path


@pytest.mark.parametrize(("first", "levels"), [(0.0, 1), (0.5, 2)])
def test_an_lstm_acts_as_torch_from_what_its_file_holds(first: float, levels: int, tmp_path: Path) -> None:
    path, x = saved(Lstm(first, levels), tmp_path / "a.pt"), walk(5)
    policy = load_policy(path)
    assert [type(layer) for layer in policy.layers[:levels]] == [layers.Lstm] * levels
    np.testing.assert_allclose(reference.act_episode(policy, x), by_torch(path, x), atol=2e-6)
    assert any("the memory begins with the numbers in" in guess for guess in policy.provenance.guesses) == bool(first)


def test_copies_of_buffers_are_read_as_these(tmp_path: Path) -> None:
    path, x = saved(OfCopies(0.5, 2), tmp_path / "a.pt"), walk(5)
    np.testing.assert_allclose(reference.act_episode(load_policy(path), x), by_torch(path, x), atol=2e-6)


@pytest.mark.parametrize("first", [0.0, 0.5])
@pytest.mark.parametrize("frozen", [False, True])
def test_cells_act_as_torch(first: float, frozen: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, path, x = torch.jit.script(Cells(first).eval()), tmp_path / "a.pt", walk(5)
    (torch.jit.freeze(module) if frozen else module).save(str(path))
    policy = load_policy(path)
    assert [type(layer).__name__ for layer in policy.layers[:3]] == ["LayerNorm", "Lstm", "Gru"]
    np.testing.assert_allclose(reference.act_episode(policy, x), by_torch(path, x), atol=2e-6)


def test_a_state_that_is_assigned_acts_as_torch(tmp_path: Path) -> None:
    path, x = saved(Assigned(), tmp_path / "a.pt"), walk(5)
    np.testing.assert_allclose(reference.act_episode(load_policy(path), x), by_torch(path, x), atol=2e-6)


def test_a_traced_cell_is_refused_with_what_keeps_it(tmp_path: Path) -> None:
    torch.jit.trace(Cells().eval(), torch.zeros(1, 5), check_trace=False).save(str(tmp_path / "a.pt"))
    with pytest.raises(LilliputError, match=r"its LSTMCell is spelled out in gates .*torch.jit.script\(module\) keeps"):
        load_policy(tmp_path / "a.pt")


def test_a_gru_acts_as_torch_behind_its_normalizer(tmp_path: Path) -> None:
    path, x = saved(Gru(), tmp_path / "a.pt"), walk(5)
    policy = load_policy(path)
    assert [type(layer) for layer in policy.layers[:2]] == [layers.Standardize, layers.Gru]
    np.testing.assert_allclose(reference.act_episode(policy, x), by_torch(path, x), atol=2e-6)


def test_a_network_that_forgets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LilliputError, match="its LSTM or GRU keeps no state: forward starts anew at each step"):
        load_policy(saved(Forgets(), tmp_path / "a.pt"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (OneBuffer, "two states of its LSTMs or GRUs stand in one buffer"),
        (OneStorage, "two states of its LSTMs or GRUs stand in one buffer"),
        (ReadBefore, "operator 'select' of constants|read by other operators too"),
        (ToCopy, "another buffer than it read|keeps no state"),
        (ReadACopy, "read by other operators too"),
        (Dropping, "its lstm is still training"),
        (lambda *_: KeptThenChanged(), "changed in place after it was kept"),
        (lambda *_: ToAnother(), "assigns to other things than names"),
        (lambda *_: Swapped(), "writes a new state to another buffer than it read"),
        (lambda *_: HalfOfIt(), "assigns to other things than names"),
        (lambda *_: Anew(), "its LSTM or GRU keeps no state"),
        (Leaking, r"the new state of its LSTM or GRU is used otherwise \(mul\)"),
    ],
)
def test_a_state_that_is_also_something_else_is_refused(make: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(LilliputError, match=message):
        load_policy(saved(make(0.0, 1), tmp_path / "a.pt"))


def test_the_walker_of_unitree_acts_as_torch() -> None:
    folder = os.environ.get("LILLIPUT_ROBOTS")
    if not folder:
        pytest.skip("LILLIPUT_ROBOTS is not set: the robots are not here")
    path = Path(folder) / "g1" / "motion.pt"
    policy, x = load_policy(path), walk(47)
    assert policy.n_parameters == 31_404
    np.testing.assert_allclose(reference.act_episode(policy, x), by_torch(path, x), atol=2e-5)
