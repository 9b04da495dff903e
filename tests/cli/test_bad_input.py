"""What the command line refuses, in one line and without a trace on the disk."""

import re
from pathlib import Path

import pytest


def test_nothing_is_overwritten_without_force(run, source, tmp_path):
    out = tmp_path / "a.lilliput"
    assert run("compress", source, "-r", "half()", "-o", out)[0] == 0
    before = out.read_bytes()
    code, _, err = run("compress", source, "-r", "half()", "-o", out)
    assert (code, out.read_bytes()) == (1, before)
    assert "exists; choose another name or give --force" in err
    assert run("compress", source, "-r", "prune_weights(sparsity=0.5)", "-o", out, "--force")[0] == 0
    assert out.read_bytes() != before


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["show", "nowhere.zip"], 2, "does not exist"),
        (["show", "EMPTY"], 1, "EMPTY"),
        (["show", "TEXT"], 1, "of no known format"),
        (["show", "SOURCE", "--normalizer", "TEXT"], 1, "TEXT"),
        (["show", "SOURCE", "--activation", "relu"], 1, "needs no activation to be read; leave it away"),
        (["export", "SOURCE", "--action-low", "-1,x", "-o", "OUT"], 2, "'-1,x' is no number"),
        (["show", "SOURCE", "--wrapper", "frame_stack(0)"], 1, "n_stack is 0; it must be at least 1"),
        (["show", "SOURCE", "--normalizer", "TEXT", "--no-normalizer"], 2, "contradict each other"),
        (["compress", "SOURCE", "-r", "qantize()", "-o", "OUT"], 1, "did you mean quantize?"),
        (["compress", "SOURCE", "-r", "prune_units(ratio=1.2)", "-o", "OUT"], 1, "ratio is 1.2; it must be in [0, 1)"),
        (["compress", "SOURCE", "-r", "prune_units(ratio=", "-o", "OUT"], 1, "recipe"),
        (["compress", "SOURCE", "-r", "__import__('os')", "-o", "OUT"], 1, "__import__"),
        (["compress", "SOURCE", "-r", "prune_units(ratio=0.01)", "-o", "OUT.lilliput"], 1, "prune_units: "),
        (["compress", "SOURCE", "-r", "half()", "-o", "TEXT/a.lilliput"], 1, "TEXT"),
        (["compress", "SOURCE", "-r", "half()", "-o", "BUSY"], 1, "BUSY is a folder; name a file"),
        (["compress", "SOURCE", "-r", "distill(steps=90000000)", "-o", "small"], 1, "'small': a policy's file ends in"),
        (["compress", "SOURCE", "-r", "half()", "-o", "OUT", "--env", "CartPoll-v1"], 1, "did you mean CartPole-v1?"),
        (["compress", "SOURCE", "-r", "half()", "-o", "OUT", "--env", "Acrobot-v1"], 1, "observation space"),
        (["compress", "SOURCE", "-r", "half()", "-o", "OUT", "--env-kwargs", "{"], 1, "must be a JSON object"),
        (["compare", "SOURCE", "--env", "Nope-v0", "-r", "half()", "-o", "OUT"], 1, "Nope-v0"),
        (["compare", "SOURCE", "--env", "Acrobot-v1", "-r", "half()", "-o", "OUT"], 1, "observation space"),
        (["compare", "SOURCE", "-r", "half()", "--keep", "1.5", "-o", "OUT"], 2, "--keep"),
        (["compare", "SOURCE", "-r", "half()", "-o", "BUSY"], 1, "is not a comparison of lilliput"),
        (["compress", "SOURCE", "-r", "half()", "--observations", "TEXT", "-o", "OUT"], 1, "'TEXT'"),
        (["shrink", "SOURCE", "--target", "nowhere", "-o", "OUT"], 1, "the target is 'nowhere'; known: host, "),
        (["export", "SOURCE", "--format", "tflite", "-o", "OUT"], 2, "tflite"),
        (["check", "BUSY"], 1, "it has no manifest.json"),
        (["measure", "BUSY"], 1, "it has no manifest.json"),
        (["measure", "BUSY", "--target", "cortex-m4", "--rate", "50"], 2, "--rate needs --cell"),
        (["bogus"], 2, "No such command"),
    ],
)  # fmt: skip
def test_bad_input_ends_in_one_clear_line(run, source, tmp_path, monkeypatch, arguments, code, says):
    monkeypatch.chdir(tmp_path)
    Path("EMPTY").touch()
    Path("TEXT").write_text("no policy at all\n")
    Path("BUSY").mkdir()
    Path("BUSY", "thesis.tex").touch()
    before = sorted(tmp_path.rglob("*"))
    got, out, err = run(*[str(source) if argument == "SOURCE" else argument for argument in arguments])
    assert (got, out) == (code, "")
    assert says in err
    assert "Traceback" not in err
    assert re.match(r"Error: .*\n\Z" if code == 1 else r"Error: .* \(see .*lilliput.* --help\)\n\Z", err)
    assert [path for path in sorted(tmp_path.rglob("*")) if path.suffix != ".pkl"] == before


def test_debug_shows_the_traceback(run, tmp_path):
    (tmp_path / "empty").touch()
    code, _, err = run("--debug", "show", tmp_path / "empty")
    assert code == 1
    assert "Traceback" in err
