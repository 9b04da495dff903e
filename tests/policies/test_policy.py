"""Policies: checked, counted, digested; their files come back whole or are refused."""

import contextlib
import dataclasses
import json
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from safetensors.numpy import load, save
from tests.arrays import f32
from tests.strategies import plausible_observations, policies

from lilliput.errors import LilliputError
from lilliput.policies import file, layers, policy, reference, spaces
from lilliput.policies.layers import Layer
from lilliput.policies.policy import Policy, Provenance

PROVENANCE = Provenance(
    "a.zip", "00", "stable_baselines3", "PPO", "Walker-v5", ("time_feature",), ("a guess",), "half()"
)


def small_policy(weight: float = 0.5, provenance: Provenance = PROVENANCE) -> Policy:
    """Two inputs, two choices."""
    stack = (
        layers.Standardize(f32([1, 2]), f32([1, 0.5]), f32(10)),
        layers.Dense(f32([[weight, 1], [0, -1]]), f32([0, 0.25])),
        layers.ArgmaxAction((2,)),
    )
    return Policy(spaces.Box((2,), np.array(-np.inf), np.array(np.inf)), spaces.Discrete(2), stack, provenance)


@settings(max_examples=30)
@given(policies())
def test_a_file_gives_the_policy_back(tmp_path_factory: pytest.TempPathFactory, policy_: Policy) -> None:
    path = tmp_path_factory.mktemp("policy") / "a.lilliput"
    file.write(policy_, path)
    again = file.read(path)
    assert again.digest == policy_.digest
    assert again.provenance == policy_.provenance
    observations = plausible_observations(policy_.observation_space, 5, np.random.default_rng(0))
    assert reference.act(again, observations).tobytes() == reference.act(policy_, observations).tobytes()


def test_provenance_comes_back_and_is_not_part_of_the_digest(tmp_path: Path) -> None:
    file.write(small_policy(), tmp_path / "a.lilliput")
    assert file.read(tmp_path / "a.lilliput").provenance == PROVENANCE
    assert small_policy(provenance=Provenance()).digest == small_policy().digest
    assert policy.with_recipe(small_policy(), "prune()").provenance == dataclasses.replace(PROVENANCE, recipe="prune()")


def test_no_text_of_the_provenance_reaches_a_terminal_as_it_is() -> None:
    hostile = "a\x1b[31m\nb\u202e"
    filled: dict[str, Any] = {
        one.name: ((hostile, hostile),)
        if one.name == "contract"
        else (hostile,)
        if "tuple" in str(one.type)
        else hostile
        for one in dataclasses.fields(Provenance)
    }

    def texts(value: Any) -> list[str]:
        return [value] if isinstance(value, str) else [text for inner in value for text in texts(inner)]

    for name, value in dataclasses.asdict(Provenance(**filled)).items():
        assert all(text.isprintable() for text in texts(value)), name
        assert texts(value), name


def test_the_digest_is_the_same_in_every_process_and_version() -> None:
    # A record is found again by it: a change here makes every finished study start over.
    assert small_policy().digest == "750eefc718d92a8d9a6c8abbb104336125e421a4aef8dc5dc81e68d08923d764"


def test_the_digest_tells_policies_apart() -> None:
    base = small_policy()
    other_space = Policy(spaces.Box((2,), np.array(-1.0), np.array(np.inf)), base.action_space, base.layers)
    halved = policy.replace_layers(
        base, (base.layers[0], layers.Dense(np.array([[0.5, 1], [0, -1]], np.float16), f32([0, 0.25])), base.layers[2])
    )
    without = policy.replace_layers(base, base.layers[1:])
    digests = {
        p.digest
        for p in (base, small_policy(np.nextafter(np.float32(0.5), np.float32(1))), other_space, halved, without)
    }
    assert len(digests) == 5


def test_a_policy_that_exists_or_has_another_name_is_not_written(tmp_path: Path) -> None:
    file.write(small_policy(), tmp_path / "a.lilliput")
    with pytest.raises(LilliputError, match="exists; choose another name"):
        file.write(small_policy(), tmp_path / "a.lilliput")
    with pytest.raises(LilliputError, match=r"'a.zip': a policy's file ends in \.lilliput"):
        file.write(small_policy(), tmp_path / "a.zip")


def test_counts_are_those_of_torch() -> None:
    torch = pytest.importorskip("torch")
    nn = torch.nn
    module = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 5 * 4, 6), nn.LayerNorm(6))
    arrays = [p.detach().numpy() for p in module.parameters()]
    conv = layers.Conv2d(arrays[0], arrays[1], (2, 2), (1, 1))
    dense, norm = layers.Dense(arrays[2], arrays[3]), layers.LayerNorm(arrays[4], arrays[5])
    space = spaces.Box((3, 9, 8), np.zeros(()), np.array(255.0), "uint8")
    stack = (conv, layers.Relu(), layers.Flatten(), dense, norm, layers.ArgmaxAction((6,)))
    counted = Policy(space, spaces.Discrete(6), stack)
    assert counted.n_parameters == sum(p.numel() for p in module.parameters())
    assert counted.n_nonzero_parameters == sum(int((p != 0).sum()) for p in module.parameters())
    assert counted.n_macs == 8 * 5 * 4 * 3 * 3 * 3 + 6 * 8 * 5 * 4
    assert counted.weight_bits == (32, 32)
    assert counted.model_bytes == 4 * counted.n_parameters


def broken(stack: Callable[[Policy], tuple[Layer, ...]], action_space: spaces.ActionSpace | None = None) -> Policy:
    base = small_policy()
    return Policy(base.observation_space, action_space or base.action_space, stack(base))


BOX = spaces.Box((2,), np.array(-1.0), np.array(1.0))


@pytest.mark.parametrize(
    ("stack", "action_space", "message"),
    [
        (lambda p: p.layers[:1], BOX, "a policy without a linear layer has nothing to decide with"),
        (lambda p: (p.layers[1], p.layers[2], p.layers[2]), None, "layer 2 (ArgmaxAction)"),
        (lambda p: p.layers, BOX, "the last layer gives []; the action space is Box(-1, 1, (2,), float32)"),
        (lambda p: p.layers[:2], None, "the action space is Discrete(2); the last layer must be an argmax over it"),
        (
            lambda p: p.layers,
            spaces.MultiDiscrete((1, 1)),
            "MultiDiscrete([1, 1]); the last layer must be an argmax over it",
        ),
        (
            lambda p: (p.layers[1], p.layers[1]),
            spaces.Box((3,), np.array(-1.0), np.array(1.0)),
            "the last layer gives [2]",
        ),
        (
            lambda p: (layers.Dense(f32([[1, 2, 3]]), None),),
            BOX,
            "layer 0 (Dense): a weight of shape [1, 3] gets an input of shape [2]",
        ),
        (
            lambda p: (layers.Dense(f32([[1, np.nan], [0, 0]]), None),),
            BOX,
            "layer 0 (Dense) holds a number that is not finite",
        ),
        (
            lambda p: (layers.Dense(f32([[1, 2], [0, 0]]), f32([0, np.inf])),),
            BOX,
            "layer 0 (Dense) holds a number that is not finite",
        ),
        (
            lambda p: (p.layers[1], layers.ClipAction(f32(np.nan), f32(1))),
            BOX,
            "layer 1 (ClipAction) holds a number that is not finite",
        ),
    ],
)
def test_layers_that_do_not_fit_are_refused(
    stack: Callable[[Policy], tuple[Layer, ...]], action_space: spaces.ActionSpace | None, message: str
) -> None:
    with pytest.raises(LilliputError) as caught:
        broken(stack, action_space)
    assert message in str(caught.value)


def as_bytes(path: Path) -> bytes:
    file.write(small_policy(), path / "a.lilliput")
    return (path / "a.lilliput").read_bytes()


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    data = as_bytes(tmp_path)
    for end in range(len(data)):
        with pytest.raises(LilliputError):
            file.from_bytes(data[:end], "'a.lilliput'")


def test_a_flipped_bit_is_seen(tmp_path: Path) -> None:
    data = as_bytes(tmp_path)
    for at in range(len(data)):
        flipped = bytearray(data)
        flipped[at] ^= 1 << at % 8
        with contextlib.suppress(LilliputError):
            # What is neither number nor text (padding, the order of names) may change.
            read = file.from_bytes(bytes(flipped), "'a.lilliput'")
            assert (read.digest, read.provenance) == (small_policy().digest, small_policy().provenance)
    damaged = bytearray(data)
    damaged[-1] ^= 1
    with pytest.raises(LilliputError, match=r"'a.lilliput' is damaged: it is not what was written"):
        file.from_bytes(bytes(damaged), "'a.lilliput'")


def test_a_file_that_cannot_be_written_whole_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.lilliput"
    file.write(small_policy(), path)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, limits[1]))
    try:
        with pytest.raises(LilliputError, match=r"a\.lilliput cannot be written: File too large"):
            file.write(small_policy(), path, force=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.lilliput"]


def test_a_mutated_file_is_a_policy_or_refused(tmp_path: Path) -> None:
    data = edited(as_bytes(tmp_path), lambda h: h.pop("sha256"))  # as a file without a checksum
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(3000):
        mutated = bytearray(data)
        for _ in range(rng.integers(1, 4)):
            mutated[rng.integers(len(mutated))] = rng.integers(256)
        try:
            read = file.from_bytes(bytes(mutated), "'a.lilliput'")
        except LilliputError:
            refused += 1
        else:
            assert isinstance(read.digest, str)
            reference.act(read.policy, np.zeros((1, *spaces.input_shape(read.policy.observation_space))))
    assert 1000 < refused < 3000


def edited(data: bytes, edit: Callable[[dict[str, Any]], None]) -> bytes:
    size = int.from_bytes(data[:8], "little")
    header = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["lilliput"])
    edit(header)
    return save(load(data), {"lilliput": json.dumps(header)})


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda h: h.update(format=4), "'a.lilliput' is of format 4; this version reads 1 to 3: update lilliput"),
        (lambda h: h.pop("layers"), "is not a lilliput policy"),
        (lambda h: h.update(layers=[]), "without a linear layer"),
        (lambda h: h.update(layers={"kind": "Dense"}), ""),
        (lambda h: h["layers"].append({"kind": "LSTM"}), "a layer is 'LSTM'; supported: SelectInputs"),
        (lambda h: h["layers"].append({"kind": ["Dense"]}), ""),
        (lambda h: h["layers"].append("Dense"), "a layer of an unknown kind"),
        (lambda h: h["layers"].append({"kind": "DynamicRange", "bits": 8}), "a layer of an unknown kind"),
        (lambda h: h["layers"][1].update(weight={"array": "none"}), "is not a lilliput policy"),
        (lambda h: h["layers"][1].update(weight=3), ""),
        (lambda h: h["layers"][1].update(bias="zero"), ""),
        (lambda h: h["layers"][1].update(weight={"kind": "Relu"}), ""),
        (lambda h: h["layers"][2].update(sizes=[2.0]), ""),
        (lambda h: h["layers"][2].update(sizes=["2"]), ""),
        (lambda h: h["layers"][2].update(sizes=2), ""),
        (lambda h: h.update(pre_scale=0.5), "holds 'pre_scale', which no policy's file has"),
        (lambda h: h["layers"][2].update(extra=1), "ArgmaxAction with 'extra' of int; it is damaged"),
        (lambda h: h.update(layers=deep(500)), ""),
        (lambda h: h.update(action_space=h["observation_space"]), ""),
        (
            lambda h: h.update(observation_space={"kind": "discrete", "n": 2}),
            "spaces of a kind that a policy cannot have",
        ),
        (lambda h: h["provenance"].update(evil=1), "with 'evil' of int; it is damaged"),
        (lambda h: h["provenance"].update(recipe=7), ""),
        (lambda h: h["provenance"].update(wrappers=[1]), ""),
        (lambda h: h.update(provenance=None), "is not a lilliput policy"),
        (lambda h: h["layers"].insert(1, {"kind": "Elu", "alpha": "x"}), ""),
        (lambda h: h["layers"].insert(1, {"kind": "HardTanh", "low": [0], "high": None}), ""),
        (
            lambda h: h["layers"].insert(
                1, {"kind": "LayerNorm", "weight": {"array": "0.mean"}, "bias": {"array": "0.mean"}, "epsilon": "1"}
            ),
            "",
        ),
        (lambda h: h["layers"][1].update(kind="QuantizedDense", input={"kind": "DynamicRange", "bits": "8"}), ""),
        (lambda h: h["layers"][1].update(kind="QuantizedDense", input=None), ""),
        (lambda h: h["layers"][1].update(kind="Conv2d", stride=[1], padding="ab"), ""),
        (lambda h: h["layers"][1].update(kind="Conv2d", stride=[1.5, 1], padding=[0, 0]), ""),
    ],
)
def test_a_hostile_header_is_refused(tmp_path: Path, edit: Callable[[dict[str, Any]], None], message: str) -> None:
    data = edited(edited(as_bytes(tmp_path), lambda h: h.pop("sha256")), edit)
    with pytest.raises(LilliputError) as caught:
        file.from_bytes(data, "'a.lilliput'")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "data", [b"", b"\x00" * 8, b"\xff" * 64, b"PK\x03\x04", save({}), save({}, {"lilliput": "[]"})]
)
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.lilliput").write_bytes(data)
    with pytest.raises(LilliputError, match=r"is not a lilliput policy|that lilliput did not write"):
        file.read(tmp_path / "a.lilliput")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LilliputError, match="there is no"):
        file.read(tmp_path / "a.lilliput")
