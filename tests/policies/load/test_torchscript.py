"""TorchScript programs, read without torch, against torch itself."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.policies.load.torchscript import agree, mlp, saved

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference
from lilliput.policies.load import load_policy

FIXTURES = Path(__file__).parents[2] / "fixtures" / "load"

torch = pytest.importorskip("torch")
nn = torch.nn
pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning", "ignore::UserWarning", "ignore:.*:torch.jit.TracerWarning"
    ),
]


class Normalizer(nn.Module):
    """As rsl_rl's EmpiricalNormalization."""

    def __init__(self) -> None:
        super().__init__()
        self.eps = 1e-2
        self.register_buffer("_mean", torch.randn(1, 6))
        self.register_buffer("_std", torch.rand(1, 6) + 0.5)
        self.register_buffer("count", torch.tensor(3))

    def forward(self, x):
        return (x - self._mean) / (self._std + self.eps)


class Exported(nn.Module):
    """What rsl_rl's and legged_gym's exporters save."""

    def __init__(self) -> None:
        super().__init__()
        self.actor = mlp()
        self.normalizer = Normalizer()

    def forward(self, x):
        return self.actor(self.normalizer(x))

    @torch.jit.export
    def reset(self):
        pass


class Bounded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.n = mlp()
        self.register_buffer("scale", torch.rand(3) + 1)

    def forward(self, x):
        return torch.clamp(torch.tanh(self.n(x)) * self.scale + 0.5, -1.0, 1.0)


class Placed(nn.Module):
    """Moves what it gets to where its numbers are, and keeps the spread away from 0."""

    def __init__(self) -> None:
        super().__init__()
        self.n, self.device = mlp(), torch.device("cpu")
        self.register_buffer("mean", torch.randn(6).double())
        self.register_buffer("var", torch.rand(6) * 0.1)

    def forward(self, x):
        x = x.to(self.device).to(self.mean.device).to(self.mean).to("cpu")
        x = (x - self.mean) * torch.rsqrt(self.var.clamp(min=0.05)) / torch.maximum(self.var, torch.square(self.var))
        return self.n(x.to(torch.device("cpu"), torch.float32).type_as(self.var))


class ScaledElu(nn.Module):
    """SELU and CELU are ELUs between two scales, behind the last layer too."""

    def __init__(self) -> None:
        super().__init__()
        self.n = nn.Sequential(nn.Linear(6, 8), nn.SELU(), nn.Linear(8, 7), nn.CELU(0.4), nn.Linear(7, 3), nn.SELU())

    def forward(self, x):
        return self.n(x)


class Choosing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x):
        x = torch.nn.functional.leaky_relu(self.a(x), 0.2)
        x = torch.nn.functional.relu6(self.b(x))
        return torch.softmax(self.c(x), dim=-1).argmax(dim=-1)


class HalfOfTheOutputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.n = mlp()

    def forward(self, x):
        h = self.n(x)
        mean, _ = torch.cat([h, h], dim=-1).chunk(2, dim=-1)
        return torch.tanh(mean[:, 1:])


class Image(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2), nn.ReLU(inplace=True), nn.Conv2d(8, 8, 3, 1, 1), nn.BatchNorm2d(8)
        )
        self.f = nn.Linear(8 * 4 * 4, 4)

    def forward(self, x):
        return self.f(torch.relu(self.c(x / 255.0)).view(x.size(0), -1))


def many_layers() -> Any:
    return nn.Sequential(
        nn.Linear(6, 8), nn.LayerNorm(8), nn.SiLU(), nn.Dropout(), nn.Linear(8, 8), nn.BatchNorm1d(8), nn.GELU(),
        nn.Linear(8, 8, bias=False), nn.ReLU(inplace=True), nn.Linear(8, 3), nn.Hardtanh(),
    )  # fmt: skip


@pytest.mark.parametrize("how", ["script", "trace", "freeze"])
@pytest.mark.parametrize("make", [mlp, Exported, Bounded, Placed, Choosing, HalfOfTheOutputs, ScaledElu, many_layers])
def test_programs_do_what_torch_does(make: Any, how: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    program = saved(make(), how, tmp_path / "policy.pt")
    agree(load_policy(tmp_path / "policy.pt"), program)


def test_an_image_has_the_size_that_it_was_traced_with(tmp_path: Path) -> None:
    torch.manual_seed(0)
    program = saved(Image(), "trace", tmp_path / "policy.pt", (1, 3, 10, 10))
    policy = load_policy(tmp_path / "policy.pt")
    assert [type(layer) for layer in policy.layers] == [
        layers.Standardize, layers.Conv2d, layers.Relu, layers.Conv2d, layers.Relu, layers.Flatten, layers.Dense,
    ]  # fmt: skip
    agree(policy, program)
    saved(Image(), "script", tmp_path / "scripted.pt")
    with pytest.raises(LilliputError, match=r"the size of an image is not in the file; name the environment \(--env\)"):
        load_policy(tmp_path / "scripted.pt")


def test_the_way_out_works(tmp_path: Path) -> None:
    torch.manual_seed(0)
    program = saved(Image(), "script", tmp_path / "policy.pt")
    with pytest.raises(LilliputError, match=r"torch.onnx.export\(torch.jit.load\(file\), .*dynamo=False"):
        load_policy(tmp_path / "policy.pt")
    target = tmp_path / "policy.onnx"
    image = torch.zeros(1, 3, 10, 10)
    torch.onnx.export(torch.jit.load(tmp_path / "policy.pt"), (image,), str(target), dynamo=False)
    agree(load_policy(target), program)


def test_logits_are_a_choice_where_the_user_says_so(tmp_path: Path) -> None:
    program = saved(mlp(), "script", tmp_path / "policy.pt")
    policy = load_policy(tmp_path / "policy.pt", action="discrete")
    x = np.random.default_rng(0).normal(size=(100, 6)).astype(np.float32)
    with torch.no_grad():
        np.testing.assert_array_equal(reference.act(policy, x), program(torch.tensor(x)).numpy().argmax(axis=1))
    assert any("taken as one number a choice" in one for one in policy.provenance.guesses)


def test_a_table_of_numbers_is_no_row_of_choices(tmp_path: Path) -> None:
    atoms = torch.nn.Sequential(
        torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 6), torch.nn.Unflatten(1, (2, 3))
    )
    saved(atoms, "trace", tmp_path / "policy.pt")
    with pytest.raises(LilliputError, match=r"shape \[2, 3\] an observation: several numbers a choice"):
        load_policy(tmp_path / "policy.pt", action="discrete")


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.n, self.v = mlp(), nn.Linear(6, 1)

    def forward(self, x):
        return self.v(x), self.n(x)


def test_of_several_values_the_user_names_the_action(tmp_path: Path) -> None:
    program = saved(Two(), "script", tmp_path / "policy.pt")
    with pytest.raises(LilliputError, match=r"forward gives 2 values: name the action's number"):
        load_policy(tmp_path / "policy.pt")
    policy = load_policy(tmp_path / "policy.pt", output="1")
    x = torch.zeros(1, 6)
    np.testing.assert_allclose(reference.act(policy, x.numpy()), program(x)[1].detach().numpy(), atol=1e-6)


class Memory(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.n = mlp()
        self.register_buffer("last", torch.zeros(1, 3))

    def forward(self, x):
        self.last[:] = 0.5 * self.last + self.n(x)
        return self.last


class PartAssigned(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x):
        h = self.a(x)
        y = h.clone()
        y[:, 3:6] = torch.relu(h[:, 3:6])
        return self.b(y)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.g = nn.GRU(6, 4)

    def forward(self, x):
        return self.g(x.unsqueeze(0))[0].squeeze(0)


class ByTheObservation(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.n = mlp()

    def forward(self, x):
        if bool(x.sum() > 0):
            return self.n(x)
        return -self.n(x)


class PartOfTheObservation(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.n = mlp()

    def forward(self, x):
        return self.n(x[:, :6])


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.b(x + self.a(x))


class Random(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.n = mlp()

    def forward(self, x):
        return self.n(x) + torch.randn([1, 3])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Memory, "memory"),
        (Recurrent, "an LSTM or GRU that keeps no state, whose forward starts anew at each step"),
        (ByTheObservation, "operator|depends on the observation by an if"),
        (PartOfTheObservation, r"a part is taken of the observation, whose size is not in the file: .*--env"),
        (Residual, "no residual connections"),
        (Random, "drawn at random"),
        (
            lambda: nn.Sequential(nn.Linear(6, 8), nn.Softplus(), nn.Linear(8, 3)),
            "operator 'softplus', which no layer of a policy",
        ),
        (
            lambda: nn.Sequential(nn.Linear(6, 8), nn.Mish(), nn.Linear(8, 3)),
            "operator 'mish', which no layer of a policy",
        ),
        (PartAssigned, r"assigns to a part of a value \(y\[...\] = ...\)"),
    ],
)
def test_other_programs_are_refused_in_one_line(make: Any, message: str, tmp_path: Path) -> None:
    torch.jit.script(make().eval()).save(str(tmp_path / "policy.pt"))
    with pytest.raises(LilliputError, match=message) as caught:
        load_policy(tmp_path / "policy.pt")
    assert "\n" not in str(caught.value)
    if "residual" in message or "no layer of a policy" in message:
        assert "an ONNX file of the same network is refused too" in str(caught.value)
    elif make in (Memory, PartAssigned):
        assert "what torch.onnx.export makes of this file may leave such a write out" in str(caught.value)
    elif make not in (Recurrent, ByTheObservation):
        assert "torch.onnx.export(torch.jit.load(file)" in str(caught.value)


Tensor: Any = torch.Tensor


# Torch wants the types of hooks.
def doubled(module: Any, given: tuple[Tensor], result: Tensor) -> Tensor:
    return result * 2.0


def halved(module: Any, given: tuple[Tensor]) -> tuple[Tensor]:
    return (given[0] * 0.5,)


@pytest.mark.parametrize("before", [True, False])
def test_hooks_of_the_whole_are_refused_and_those_inside_are_followed(before: bool, tmp_path: Path) -> None:
    """Torch writes the calls of a module's hooks where that is called, so that nothing shows those of the first."""
    for inside in (False, True):
        module = mlp().eval()
        hooked = module[2] if inside else module
        hooked.register_forward_pre_hook(halved) if before else hooked.register_forward_hook(doubled)
        torch.jit.script(module).save(str(tmp_path / "policy.pt"))
        if not inside:
            with pytest.raises(LilliputError, match=r"code of its own runs around its forward"):
                load_policy(tmp_path / "policy.pt")
            continue
        x = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
        expected = torch.jit.load(str(tmp_path / "policy.pt"))(torch.tensor(x)).detach().numpy()
        np.testing.assert_allclose(reference.act(load_policy(tmp_path / "policy.pt"), x), expected, atol=1e-5)


def test_what_is_still_training_is_refused(tmp_path: Path) -> None:
    for part in (nn.Dropout(), nn.BatchNorm1d(8)):
        torch.jit.script(nn.Sequential(nn.Linear(6, 8), part, nn.Linear(8, 3)).train()).save(
            str(tmp_path / "policy.pt")
        )
        with pytest.raises(LilliputError, match=r"still training|memory"):
            load_policy(tmp_path / "policy.pt")


def rewritten(path: Path, change: Any) -> Path:
    """The archive with its first class's source changed."""
    stream = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(stream, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            new.writestr(entry, change(data) if b"class Exported" in data else data)
    target = path.with_name("changed.pt")
    target.write_bytes(stream.getvalue())
    return target


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (
            b"return __import__('os').system('touch MARKER')",
            "operator '__import__'|is not supported|what is no function",
        ),
        (b"return eval(\"open('MARKER', 'w')\")", "operator 'eval'"),
        (b"return self.__class__.__base__.__subclasses__()", "takes '__class__' of what has none"),
        (b"while True:\n      pass\n    return x", "the statement While"),
        (b"return [x for _ in range(9 ** 9)]", "the expression"),
        (b"return (lambda: x)()", "the expression"),
        (b"return (self).forward(x, )", "call each other more often"),
        (b"return x\x00", "cannot be parsed"),
        (b"return " + b"(" * 500 + b"x" + b")" * 500, "cannot be parsed"),
        (b"return f'{x}'", "the expression"),
        (b"import os\n    return x", "the statement Import"),
        (b"return torch.pow(9, 999999999)", "raises an integer to a power above 64"),
        (b"n = 9\n" + b"    n = torch.mul(n, n)\n" * 60 + b"    return x", "integers of more than 64 bits"),
        (b"return [0x" + b"F" * 6000 + b" for _ in x]", "has an integer of more than 64 bits"),
        (b"a = [x]\n" + b"    a = [a, a]\n" * 40 + b"    return torch.cat(a)", "its lists hold more than any"),
        (b"a = (x, x)\n" + b"    a = (a, a)\n" * 40 + b"    return a", "its lists hold more than any"),
    ],
)
def test_nothing_in_the_source_is_executed(
    new: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    saved(Exported(), "script", tmp_path / "policy.pt")

    def change(source: bytes) -> bytes:
        head, _, tail = source.partition(b"def forward(")
        signature, _, rest = tail.partition(b"-> Tensor:\n")
        after = rest[rest.index(b"\n  def ") :] if b"\n  def " in rest else b""
        return head + b"def forward(" + signature + b"-> Tensor:\n    " + new + b"\n" + after

    with pytest.raises(LilliputError, match=message) as caught:
        load_policy(rewritten(tmp_path / "policy.pt", change))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "MARKER").exists()
