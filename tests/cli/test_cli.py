import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pytest
from tests.policies.recurrent import every_memory, walk

from lilliput.cli import cli
from lilliput.policies import file as policy_file
from lilliput.policies import layers, reference, spaces
from lilliput.policies.compress import Context, compress
from lilliput.policies.learner import Checkpoint, Learner
from lilliput.policies.policy import Policy, Provenance


def test_compress_makes_the_folder_that_it_writes_to(run, source, tmp_path):
    path = tmp_path / "new" / "folder" / "half.lilliput"
    assert run("compress", source, "-r", "half()", "-o", path)[0] == 0
    assert policy_file.read(path).model_bytes < policy_file.read(source).model_bytes


def test_show_in_words_and_in_json(run, source):
    code, out, _ = run("show", source)
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    code, out, _ = run("show", source, "--json")
    found = json.loads(out)
    assert found["n_parameters"] == 16 * 4 + 16 + 2 * 16 + 2
    assert found["model_bytes"] == 4 * found["n_parameters"]
    assert found["weight_bits"] == [32, 32]
    assert [layer["kind"] for layer in found["layers"]] == ["Dense", "Tanh", "Dense", "ArgmaxAction"]
    assert sum(layer["bytes"] for layer in found["layers"]) == found["model_bytes"]


def test_show_lists_the_inputs_that_are_not_read(run, tmp_path):
    from lilliput.policies import file, layers, policy, spaces

    def written(name, *stack):
        box, one = np.full(4, np.inf), np.ones(1)
        path = tmp_path / f"{name}.lilliput"
        file.write(policy.Policy(spaces.Box((4,), -box, box), spaces.Box((1,), -one, one), stack), path)
        return path

    def dense(*weights):
        return layers.Dense(np.array([weights], np.float32), None)

    selected = layers.SelectInputs(np.array([0, 2, 3], np.uint16))
    for name, stack, unread, words in (
        ("all", (dense(1, 2, 3, 4),), [], None),
        ("zero", (dense(1, 0, 3, 0),), [1, 3], "not read     inputs 1, 3"),
        ("selected", (selected, dense(1, 2, 0)), [1, 3], "not read     inputs 1, 3"),
        ("one", (selected, dense(1, 2, 3)), [1], "not read     input 1"),
    ):
        path = written(name, *stack)
        assert json.loads(run("show", path, "--json")[1])["unread_inputs"] == unread
        shown = run("show", path)[1]
        assert ("not read" in shown) == bool(words)
        assert not words or words in shown


def test_show_says_what_students_can_learn_by(run, tmp_path):
    space = spaces.Box((2,), np.array(-np.inf), np.array(np.inf))
    layer, critic = (layers.Dense(np.ones((1, n), np.float32), None) for n in (2, 3))
    policy = Policy(space, spaces.Box((1,), np.array(-1), np.array(1)), (layer,))
    policy_file.write(Checkpoint(policy, Learner((critic,), (0.5,))), tmp_path / "judged.lilliput")
    assert (
        'learner      its critic (loss="regret"), its spread (loss="kl")\n'
        in run("show", tmp_path / "judged.lilliput")[1]
    )
    found = json.loads(run("show", tmp_path / "judged.lilliput", "--json")[1])
    assert (found["has_critic"], found["action_std"]) == (True, [0.5])
    run("compress", tmp_path / "judged.lilliput", "-r", "half()", "-o", tmp_path / "half.lilliput")
    kept = policy_file.read_checkpoint(tmp_path / "half.lilliput").learner
    assert (kept.critic, kept.action_std) == ((), (0.5,))


def test_compress_export_check_and_measure(run, source, tmp_path):
    small, folder = tmp_path / "small.lilliput", tmp_path / "onnx"
    code, out, _ = run("compress", source, "-r", "half()", "-o", small, "--json")
    found = json.loads(out)
    assert (code, found["recipe"], found["bytes"] * 2) == (0, "half()", found["baseline_bytes"])
    assert run("export", small, "--format", "onnx", "-o", folder)[0] == 0
    assert run("check", folder)[0] == 0
    assert "must be a JSON object" in run("measure", folder, "--env", "CartPole-v1", "--env-kwargs", "[1]")[2]
    code, out, _ = run("measure", folder, "--env", "CartPole-v1", "--episodes", "10", "--json")
    assert code == 0
    returns = next(m for m in json.loads(out) if m["quantity"] == "episode_return")
    assert len(returns["values"]) == 10
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:-1])
    code, _, err = run("check", folder)
    assert (code, err.count("\n")) == (1, 1)
    assert "is missing or was changed since the export" in err


def test_a_recipe_that_calibrates_plays_the_environment_that_the_source_names(run, source, tmp_path):
    code, _, _ = run(
        "compress", source, "-r", 'quantize(scheme="static", observations=64)', "-o", tmp_path / "q.lilliput"
    )
    assert code == 0


GUESS = "the moon is taken to be made of <cheese>"


@pytest.fixture
def guessed(source, tmp_path) -> Path:
    """The same policy, of which something was guessed; its source names no environment."""
    path = tmp_path / "guessed.lilliput"
    policy_file.write(replace(policy_file.read(source), provenance=Provenance(guesses=(GUESS,))), path)
    return path


ON_CARTPOLE = ("--env", "CartPole-v1")
READING = {
    ("show",): (),
    ("compress",): ("-r", "half()", "-o", "half.lilliput"),
    ("export",): ("--format", "onnx", "-o", "artifact"),
    ("compare",): (*ON_CARTPOLE, "-r", "half()", "--episodes", 2, "--workers", 1, "--no-timings", "-o", "compared"),
    ("shrink",): (*ON_CARTPOLE, "--target", "nowhere", "-o", "small"),
}


def test_what_is_guessed_is_said_by_every_command_that_reads_a_source(run, guessed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    named = {"source", "sources"}
    sources = {path for path, command in every_command() if named & {p.name for p in command.params}}
    assert sources == set(READING)
    for path, arguments in READING.items():
        code, out, err = run(*path, guessed, *arguments, "--json")
        assert err.splitlines()[0] == f"guessed: {GUESS}", path
        assert err.count(GUESS) == 1
        if path == ("shrink",):  # stopped by its target: a search takes a minute
            continue
        assert code == 0
        assert json.loads(out)["guesses"] == [GUESS], path
    assert json.loads(Path("artifact", "manifest.json").read_text())["guesses"] == [GUESS]
    assert policy_file.read("half.lilliput").provenance.guesses == (GUESS,)
    page = Path("compared", "report.html").read_text()
    assert "the moon is taken to be made of &lt;cheese&gt;" in page
    assert "<cheese>" not in page
    assert GUESS in run("show", guessed)[1]


def test_a_study_says_what_is_guessed(run, guessed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = 'policies = ["guessed.lilliput"]\nrecipes = ["half()"]\nenvironments = ["CartPole-v1"]\nepisodes = 2\n'
    text += 'formats = ["onnx"]\ncell_timeout = 0\n'
    Path("study.toml").write_text(text)
    code, out, err = run("study", "run", "study.toml", "-o", "results", "--workers", 1, "--json")
    assert (code, err.count(GUESS)) == (0, 1)
    assert any(GUESS in caveat for caveat in json.loads(out)["caveats"])
    assert "the moon is taken to be made of &lt;cheese&gt;" in Path("results", "report.html").read_text()


def test_another_environment_than_that_of_training_is_said_in_the_table_and_on_the_page(run, source, tmp_path):
    out = tmp_path / "compared"
    arguments = ("compare", source, "-r", "half()", "--episodes", 2, "--workers", 1, "--no-timings", "-o", out)
    code, printed, _ = run(*arguments, "--env", "CartPole-v0")
    said = "trained on CartPole-v1, played in CartPole-v0: another task"
    assert code == 0
    for text in (printed, (out / "table.md").read_text(), (out / "report.html").read_text()):
        assert said in text
    assert said in json.loads(run(*arguments, "--env", "CartPole-v0", "--json")[1])["remarks"][0]
    assert "another task" not in run(*arguments)[1]


def test_the_command_line_and_python_train_the_same_student(run, source, tmp_path):
    recipe, path = "distill(hidden=(2,), steps=30, restarts=1)", tmp_path / "student.lilliput"
    assert run("compress", source, *ON_CARTPOLE, "-r", recipe, "--seed", 3, "-o", path)[0] == 0
    teacher = policy_file.read(source)
    student = compress(teacher, recipe, Context.from_environment(teacher, "CartPole-v1", seed=3))
    assert policy_file.read(path).digest == student.digest


def test_compress_keeps_the_environment_s_name_for_the_next_command(run, guessed, tmp_path):
    small, smaller = tmp_path / "small.lilliput", tmp_path / "smaller.lilliput"
    kwargs = '{"sutton_barto_reward": true}'
    assert "name it with --env" in run("compare", guessed, "-r", "half()", "-o", tmp_path / "c")[2]
    assert run("compress", guessed, "-r", "half()", *ON_CARTPOLE, "--env-kwargs", kwargs, "-o", small)[0] == 0
    found = json.loads(run("show", small, "--json")[1])
    assert (found["plays"], json.loads(found["plays_kwargs"])) == ("CartPole-v1", json.loads(kwargs))
    calibrated = 'quantize(scheme="static", observations=64)'
    assert run("compress", small, "-r", calibrated, "-o", smaller)[0] == 0
    arguments = ("-r", "prune_weights(sparsity=0.5)", "--episodes", 10, "--workers", 1, "--no-timings")
    code, out, _ = run("compare", smaller, *arguments, "-o", tmp_path / "compared", "--json")
    found = json.loads(out)
    assert (code, found["environment"]) == (1, "CartPole-v1"), "nothing is pruned after it was quantized"
    assert found["rows"][0]["mean_return"] <= 0, "the arguments of the environment too"


STATIC = 'quantize(scheme="static")'


@pytest.fixture
def log(tmp_path) -> Path:
    """What CartPole may have looked like, far from its usual states."""
    path = tmp_path / "log.csv"
    rows = np.random.default_rng(1).normal(size=(200, 4)) * [5, 1, 0.1, 1]
    np.savetxt(path, rows, delimiter=",", header="x,v,angle,w", comments="")
    return path


def test_what_a_step_says_of_still_inputs_is_read_by_the_user(run, source, tmp_path):
    rows = np.random.default_rng(1).normal(size=(200, 4)).astype(np.float32)
    rows[:, 1] = 0.5
    np.save(tmp_path / "log.npy", rows)
    of_each = 'quantize(scheme="static", input="per_dimension")'
    given = ("-r", of_each, "--observations", tmp_path / "log.npy")
    code, out, err = run("compress", source, *given, "-o", tmp_path / "q.lilliput", "--json")
    assert (code, len(json.loads(out)["notes"])) == (0, 1)
    assert err.count("note: quantize: input 1 stood still in calibration") == 1
    assert "input 1 stood still" in policy_file.read(tmp_path / "q.lilliput").provenance.guesses[-1]
    arguments = ("--episodes", 2, "--workers", 1, "--no-timings", "-o", tmp_path / "compared")
    code, out, _ = run("compare", source, *ON_CARTPOLE, *given, *arguments)
    assert code == 0
    assert f"{of_each}: input 1 stood still" in out.replace("quantize: ", "")
    for file in ("table.md", "table.json", "report.csv", "report.html"):
        assert "input 1 stood still in calibration" in (tmp_path / "compared" / file).read_text(), file
    bare = tmp_path / "bare.lilliput"  # of no environment: judged by its actions
    policy_file.write(replace(policy_file.read(source), provenance=Provenance()), bare)
    code, out, _ = run("compare", bare, *given, "-o", tmp_path / "acted")
    assert code == 0
    assert "input 1 stood still in calibration" in out


@pytest.mark.parametrize("name", ["gru", "choices", "previous action"])
def test_of_a_policy_with_a_memory_a_log_is_one_episode(run, tmp_path, name):
    policy = every_memory()[name]
    x = walk(policy, 120)
    np.save(tmp_path / "log.npy", x)
    policy_file.write(policy, tmp_path / "policy.lilliput")
    given = ("-r", "quantize(scheme='static', weight_bits=3)", "--observations", tmp_path / "log.npy")
    code, out, _ = run("compress", tmp_path / "policy.lilliput", *given, "-o", tmp_path / "q.lilliput", "--json")
    assert code == 0
    own, small = (reference.act_episode(one, x) for one in (policy, policy_file.read(tmp_path / "q.lilliput")))
    found = json.loads(out)["actions"]
    assert found["n"] == len(x)
    if policy.is_discrete:
        assert found["flips"] == [int((own != small).sum())]
    else:
        np.testing.assert_allclose(found["largest_error"], np.abs(own - small).max(axis=0), rtol=1e-6)


def test_a_log_calibrates_and_judges_actions_where_there_is_no_environment(run, guessed, log, tmp_path):
    from lilliput.policies.compress import Context, compress, parse

    out = tmp_path / "q.lilliput"
    policy = policy_file.read(guessed)
    seen = np.loadtxt(log, delimiter=",", skiprows=1).astype(np.float32)
    expected = compress(policy, parse(STATIC), Context.from_observations(policy, seen))
    assert "--env" in run("compress", guessed, "-r", STATIC, "-o", out)[2], "nothing to calibrate on"
    code, printed, _ = run("compress", guessed, "-r", STATIC, "--observations", log, "-o", out)
    assert (code, policy_file.read(out).digest) == (0, expected.digest)
    assert re.search(r"choice 0: \d+ of 200 differ .*\n.* are no return", printed)
    folder = tmp_path / "compared"
    arguments = ("compare", guessed, "-r", STATIC, "-r", "prune_units(ratio=0.01)", "--observations", log, "-o", folder)
    code, printed, _ = run(*arguments)
    assert code == 0
    assert "are no return" in printed
    code, again, _ = run(*arguments, "--json")
    found = json.loads(again)
    assert [row["status"] for row in found["rows"]] == ["done", "done", "not_applicable"]
    assert found["rows"][0]["agreement"]["flips"] == [0]
    assert "are no return" in found["note"]
    assert (folder / found["rows"][1]["artifact"] / "manifest.json").is_file()


def test_shrink_by_actions_where_there_is_no_environment(run, guessed, log, tmp_path):
    out = tmp_path / "small"
    options = ("--observations", log, "--keep", "0.9", "--format", "onnx", "-o", out, "--json")
    code, printed, _ = run("shrink", guessed, *options)
    found = json.loads(printed)
    assert code == 0
    assert found["bytes"] == policy_file.read(out / "policy.lilliput").model_bytes < found["baseline_bytes"]
    near = [row for row in found["rows"] if row["recipe"] and row["agreement"] and row["agreement"]["flips"][0] <= 20]
    assert found["bytes"] == min(row["model_bytes"] for row in near)
    assert run("check", out / "artifact")[0] == 0
    code, _, err = run("shrink", guessed, *options, "--max-flash", 1000)
    assert code == 2
    assert "need an environment" in err


def test_what_a_policy_with_a_memory_is_shrunk_by_on_a_log_is_made_for_one(run, tmp_path):
    policy, source, log = every_memory()["gru resets first"], tmp_path / "gru.lilliput", tmp_path / "log.npy"
    policy_file.write(policy, source)
    np.save(log, walk(policy, 40))
    code, printed, _ = run(
        "shrink", source, "--observations", log, "--format", "onnx", "-o", tmp_path / "out", "--json"
    )
    rows = json.loads(printed)["rows"]
    assert code == 0
    assert len(rows) > 3
    assert {row["status"] for row in rows} == {"done"}


def test_without_a_recipe_the_policy_is_judged_as_it_is(run, source, tmp_path):
    given = ("--episodes", 2, "--format", "onnx", "--workers", 1, "--no-timings", "-o", tmp_path / "out", "--json")
    code, printed, err = run("compare", source, *given)
    assert code == 0, err
    assert {row["recipe"] for row in json.loads(printed)["rows"]} == {""}


def test_a_log_calibrates_where_there_is_an_environment_too(run, source, log, tmp_path):
    by_log, by_playing = tmp_path / "log.lilliput", tmp_path / "playing.lilliput"
    assert run("compress", source, "-r", STATIC, "--observations", log, "-o", by_log)[0] == 0
    assert run("compress", source, "-r", STATIC, "-o", by_playing)[0] == 0
    digests = [policy_file.read(path).digest for path in (by_log, by_playing)]
    assert digests[0] != digests[1]
    out = tmp_path / "compared"
    arguments = ("compare", source, "-r", STATIC, "--episodes", 2, "--format", "onnx", "--workers", 1)
    arguments += ("--no-timings", "-o", out, "--json")
    assert run(*arguments, "--observations", log)[0] == 0
    assert run(*arguments)[0] == 0, "the same folder: records of another calibration are not taken for these"
    exported = {json.loads(path.read_text())["policy_digest"] for path in out.glob("artifacts/*/manifest.json")}
    assert exported == {*digests, policy_file.read(source).digest}


def every_command(group=cli, prefix=()):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from every_command(command, (*prefix, name))
        else:
            yield (*prefix, name), command


@pytest.mark.parametrize(
    ("path", "command"), [pytest.param(*found, id=" ".join(found[0])) for found in every_command()]
)
def test_every_command_has_help_with_an_example(run, path, command):
    code, out, _ = run(*path, "--help")
    assert code == 0
    assert f"lilliput {' '.join(path)} " in out or f"lilliput {' '.join(path)}\n" in out, "an example in the help"
    assert all(parameter.help for parameter in command.params if isinstance(parameter, click.Option))
    assert max(map(len, out.splitlines())) <= 80, "a terminal's width"


def test_help_needs_nothing_heavy():
    code = "import sys; sys.argv = ['lilliput', '--help']; import lilliput.__main__ as m\n"
    code += "try: m.main()\nexcept SystemExit: pass\n"
    code += (
        "print([n for n in ('torch', 'onnx', 'onnxruntime', 'matplotlib', 'gymnasium', 'rich') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
