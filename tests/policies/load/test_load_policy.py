"""The whole loader on committed checkpoints, without the frameworks that wrote them."""

import gzip
import pickle
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save
from tests.policies.load.checkpoints import FILES, FOLDER, copied, expected, source

from lilliput.errors import LilliputError
from lilliput.policies import file as policy_file
from lilliput.policies import reference
from lilliput.policies.load import load_policy
from lilliput.policies.load.table import FORMATS
from lilliput.policies.policy import Provenance

_BFLOAT16 = b'{"w":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
HALVES = len(_BFLOAT16).to_bytes(8, "little") + _BFLOAT16 + bytes(4)
"""A safetensors file of bfloat16, which numpy has not."""
FLAX = (
    b"\x82\xa10\x81\xa6env_id\xa1a\xa11\x81\xa10\x81\xa6params\x81\xa7Dense_0\x82\xa4bias\xc7\x11\x01\x93\x91\x01\xa7float32\xc4"
    b"\x04\x00\x00\x00\x00\xa6kernel\xc7\x12\x01\x93\x92\x01\x01\xa7float32\xc4\x04\x00\x00\x80?"
)
"""flax.serialization.to_bytes([{"env_id": "a"}, [{"params": {"Dense_0": {"bias": ..., "kernel": ...}}}]])"""


@pytest.mark.parametrize("name", FILES)
def test_a_checkpoint_acts_as_its_framework_did(name: str, tmp_path: Path) -> None:
    policy = load_policy(copied(name, tmp_path))
    batch, actions = expected(name)
    actual = reference.act(policy, batch)
    if policy.is_discrete:
        np.testing.assert_array_equal(actual, actions)
        assert len(np.unique(actions)) > 1
    else:
        np.testing.assert_allclose(actual, actions, atol=2e-6)
    assert policy.provenance.source == FILES[name]
    assert len(policy.provenance.source_sha256) == 64


def test_a_lilliput_file_is_known_whatever_its_header_is_long(tmp_path: Path) -> None:
    policy = load_policy(copied("ppo", tmp_path))
    firsts: set[int] = set()
    for n in range(0, 256, 8):  # the header is padded to eight bytes
        path = tmp_path / "named.lilliput"
        policy_file.write(replace(policy, provenance=Provenance(source="x" * n)), path)
        firsts.add(path.read_bytes()[0])
        assert load_policy(path).digest == policy.digest
        path.unlink()
    assert firsts >= {0x80, 0x08}, "what pickles and ONNX files begin with"


def test_the_normalizer_that_is_given_comes_first(tmp_path: Path) -> None:
    policy = load_policy(copied("ppo", tmp_path), normalizer=FOLDER / "vecnormalize.pkl")
    batch, actions = expected("ppo_normalized")
    np.testing.assert_allclose(reference.act(policy, batch), actions, atol=2e-6)


def test_a_normalizer_beside_the_zip_is_found_and_said(tmp_path: Path) -> None:
    path = copied("ppo", tmp_path)
    (tmp_path / "vecnormalize.pkl").write_bytes((FOLDER / "vecnormalize.pkl").read_bytes())
    policy = load_policy(path)
    assert policy.digest == load_policy(path, normalizer=FOLDER / "vecnormalize.pkl").digest
    assert any("found beside the zip" in guess for guess in policy.provenance.guesses)


def test_a_normalizer_of_another_shape_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "wide.npz", mean=np.zeros(7), var=np.ones(7))
    with pytest.raises(
        LilliputError, match=r"'wide.npz' holds statistics of shape \[7\]; the policy's observation has \[4\]"
    ):
        load_policy(copied("ppo", tmp_path), normalizer=tmp_path / "wide.npz")
    with pytest.raises(LilliputError, match="the statistics of one array; the policy's observation has the keys a, z"):
        load_policy(copied("ppo_dict", tmp_path), normalizer=tmp_path / "wide.npz")


def test_our_own_file_comes_back_as_it_was(tmp_path: Path) -> None:
    policy = load_policy(copied("sac_gsde", tmp_path))
    policy_file.write(policy, tmp_path / "small.lilliput")
    again = load_policy(tmp_path / "small.lilliput")
    assert again.digest == policy.digest
    assert again.provenance == policy.provenance


def test_our_own_file_has_its_normalizer_inside(tmp_path: Path) -> None:
    policy = load_policy(copied("ppo", tmp_path), normalizer=FOLDER / "vecnormalize.pkl")
    policy_file.write(policy, tmp_path / "small.lilliput")
    assert load_policy(tmp_path / "small.lilliput").digest == policy.digest
    with pytest.raises(LilliputError, match="has its normalizer inside already"):
        load_policy(tmp_path / "small.lilliput", normalizer=FOLDER / "vecnormalize.pkl")
    with pytest.raises(LilliputError, match="has its normalizer inside, which cannot be left out"):
        load_policy(tmp_path / "small.lilliput", normalizer=False)


def test_a_file_is_known_by_its_content_and_not_by_its_name(tmp_path: Path) -> None:
    for name in FILES:
        renamed = copied(name, tmp_path).rename(tmp_path / "checkpoint")
        # A network named actor is CleanRL's by the file's name alone: others name theirs so as well.
        said: Any = {"activation": "tanh", "action": "discrete"} if name == "cleanrl_ppo" else {}
        assert load_policy(renamed, **said).provenance.framework


def test_loading_needs_no_framework(tmp_path: Path) -> None:
    import subprocess

    code = (
        "import sys; from lilliput.policies.load import load_policy\n"
        f"[load_policy(path) for path in {[str(copied(name, tmp_path)) for name in FILES if name != 'mlp']}]\n"
        "heavy = {'torch', 'stable_baselines3', 'onnx', 'onnxruntime', 'pandas'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "'x.zip' is empty; supported: Stable-Baselines3 zips"),
        (b"hello", "'x.zip' is of no known format; supported: Stable-Baselines3 zips"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "'x.zip' is a pointer of Git LFS and not the"),
        (FLAX, "holds parameters of flax .JAX., which are not read; put them into a torch module, each kernel"),
        (pickle.dumps({"policy": FLAX, "value": FLAX}, 4), "holds parameters of flax .JAX., which are not read"),
        (b"\n<!DOCTYPE html>\n<html>Not found</html>", "'x.zip' is a web page and not the file itself; download"),
        (gzip.compress(b"hello", mtime=0), "'x.zip' is packed with gzip; unpack it first"),
        (save({"w": np.zeros(2)}), "'x.zip' is a safetensors file that lilliput did not write; .* torch.save"),
        (HALVES, "is a safetensors file that lilliput did not write; .* torch.save"),
        (save({"w": np.zeros(2)}, {"format": "pt"}), "is a safetensors file that lilliput did not write"),
        (b"PK\x03\x04" + bytes(60), "'x.zip' is not a readable zip archive"),
        ((FOLDER / "foreign.pkl").read_bytes(), "is a pickle, but not one of torch.save"),
        (
            (FOLDER / "ppo.npz").read_bytes(),
            r"holds arrays alone .\.npz., and not which layers .*export the policy as ONNX",
        ),
        ((FOLDER / "vecnormalize.pkl").read_bytes(), "holds the statistics .* and no policy; .* with --normalizer"),
        (b'{"mean": [0.0], "var": [1.0]}', "holds the statistics .* and no policy"),
    ],
)
def test_a_file_of_another_kind_is_refused_in_one_line(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(content)
    with pytest.raises(LilliputError, match=message) as caught:
        load_policy(path)
    assert "\n" not in str(caught.value)


def test_a_path_that_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(LilliputError, match=r"nothing.zip' does not exist"):
        load_policy(tmp_path / "nothing.zip")
    with pytest.raises(LilliputError, match="holds no zip of a policy, but nothing; give the path of a file"):
        load_policy(tmp_path)
    (tmp_path / "small.lilliput").touch()
    with pytest.raises(LilliputError, match=r"holds no zip of a policy, but small.lilliput; give the path"):
        load_policy(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(LilliputError, match="is an exported artifact, which `lilliput check` and"):
        load_policy(tmp_path)
    with pytest.raises(LilliputError, match="is not a file"):
        load_policy("/dev/null")
    with pytest.raises(LilliputError, match="does not exist"):
        load_policy("a\0b")


def test_what_a_file_says_cannot_reach_the_terminal_raw(tmp_path: Path) -> None:
    data = source("cleanrl_td3").read_bytes()
    (tmp_path / "x.pt").write_bytes(data.replace(b"action_bias", b"action\x1b[2J\n"[:10] + b"s"))
    with pytest.raises(LilliputError, match=r"has action.* besides and has no action_bias") as caught:
        load_policy(tmp_path / "x.pt")
    assert str(caught.value).isprintable()


def test_a_run_of_cleanrl_names_its_environment(tmp_path: Path) -> None:
    folder = tmp_path / "CartPole-v1__ppo__1__1700000000"
    folder.mkdir()
    assert load_policy(copied("cleanrl_ppo", folder)).provenance.environment == "CartPole-v1"


def test_a_normalizer_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(LilliputError, match=r"gone.pkl' does not exist"):
        load_policy(copied("ppo", tmp_path), normalizer=tmp_path / "gone.pkl")


def test_the_table_of_formats_names_each_of_them() -> None:
    text = " ".join(kind.what for kind in FORMATS)
    for word in ("Stable-Baselines3", "CleanRL", ".lilliput", "ONNX"):
        assert word in text
