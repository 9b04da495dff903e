import inspect

import pytest
from tests.policies.load.torch_writer import named, torch_file

from lilliput.errors import LilliputError
from lilliput.policies import spaces
from lilliput.policies.learner import Checkpoint
from lilliput.policies.load import load_policy
from lilliput.study.document import read_study
from lilliput.study.plan import plan
from lilliput.study.policies import POLICIES
from lilliput.task import Task

GOOD = """\
policies = ["a.zip"]
recipes = [
  "quantize()",
  'prune_units(ratio=0.1..0.3 step 0.1, importance=["l1", "l2"])',
]
"""


def written(tmp_path, text):
    path = tmp_path / "study.toml"
    path.write_text(text)
    return path


def test_what_is_left_out_has_its_default(tmp_path):
    study = read_study(written(tmp_path, GOOD))
    assert (study.title, study.folder, study.formats, study.n_items, study.seed) == ("study", tmp_path, ("c",), 100, 0)
    assert len(study.recipes) == 7
    assert study.recipes[:2] == ("quantize()", "prune_units(ratio=0.1)")


def test_environments_as_a_text_a_list_and_a_table(tmp_path):
    assert read_study(written(tmp_path, GOOD + 'environments = "Hopper-v4"')).tasks == (("*", (Task("Hopper-v4"),)),)
    table = GOOD + '[environments]\n"*/Hopper*" = ["Hopper-v4", { id = "Hopper-v5", kwargs = { b = 1, a = 2 } }]\n'
    (pattern, places), *_ = read_study(written(tmp_path, table)).tasks
    assert pattern == "*/Hopper*"
    assert places == (Task("Hopper-v4"), Task("Hopper-v5", '{"a": 2, "b": 1}'))


def test_what_is_told_of_a_policy_whose_file_does_not_say_it(tmp_path):
    table = GOOD + '[load]\n"*/sac_actor" = { action_low = -0.4, action_high = 0.4, wrappers = ["frame_stack(2)"] }\n'
    told = {"action_low": -0.4, "action_high": 0.4, "wrappers": ["frame_stack(2)"]}
    assert read_study(written(tmp_path, table)).load == (("*/sac_actor", told),)
    parameters = inspect.signature(load_policy).parameters
    assert set(POLICIES.TOLD) == {name for name, one in parameters.items() if one.kind is one.KEYWORD_ONLY}


def test_a_plan_loads_what_it_was_told(tmp_path):
    folder = tmp_path / "Pendulum"
    folder.mkdir()
    (folder / "actor.pt").write_bytes(torch_file(named([3, 8, 8, 1], ["l1", "l2", "l3"])))
    text = 'policies = ["Pendulum/actor.pt"]\nrecipes = ["half()"]\nenvironments = "Pendulum-v1"\n'
    with pytest.raises(LilliputError, match=r"line 1: policies: 'actor.pt' does not say which activation"):
        plan(read_study(written(tmp_path, text)))
    told = '[load]\n"Pendulum/*" = { environment = "Pendulum-v1", activation = "relu", action = "tanh" }\n'
    made = plan(read_study(written(tmp_path, text + told)))
    (policy,) = made.subjects.values()
    # The environment that is told is the one to play: nothing has to be said twice.
    once = text.replace('environments = "Pendulum-v1"\n', "")
    assert plan(read_study(written(tmp_path, once + told))).cells == made.cells
    assert isinstance(policy, Checkpoint)
    policy = policy.policy
    assert isinstance(policy.action_space, spaces.Box)
    assert policy.action_space.high.tolist() == [2.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + '[load]\n"a*" = { bound = 3 }', "line 7: load: 'bound'; .*allowed: normalizer, output, activation"),
        (GOOD + '[load]\n"a*" = 3', "line 7: load: 'a\\*' is 3; write"),
        (GOOD + "load = 3", "line 6: load is 3; it must be a table"),
        (GOOD + 'reproduces = "lu2042"', r"line 6: reproduces: 'lu2042'; did you mean lu2024\?"),
        (GOOD + "episode = 3", r"line 6: unknown key 'episode'; did you mean episodes\?"),
        (GOOD + "seeds = [1]", r"line 6: unknown key 'seeds'; did you mean seed or compression_seeds\?"),
        (GOOD + "\n\nepisodes = 0", "line 8: episodes is 0; it must be an integer from 1"),
        (GOOD + 'episodes = "many"', "line 6: episodes is 'many'; it must be an integer"),
        (GOOD + "episodes = true", "line 6: episodes is True"),
        (GOOD.replace("quantize()", "quantise()"), "line 3: recipe: unknown step 'quantise'; did you mean quantize"),
        (GOOD.replace("ratio=0.1..0.3 step 0.1", "ratio=1.5"), "line 4: prune_units: ratio is 1.5"),
        (GOOD + 'formats = [\n "onnx",\n "tflite"]', "line 8: formats: 'tflite'; allowed: onnx, c"),
        (GOOD + 'quantities = ["latency"]', "line 6: quantities: 'latency'; did you mean latency_s"),
        (GOOD + 'targets = ["cortex-m5"]', "line 6: targets: 'cortex-m5'; did you mean cortex-m7"),
        (GOOD + 'targets = ["cortex-m4"]\nformats = ["onnx"]', "line 6: targets: cortex-m4 takes the format c"),
        (GOOD + 'quantities = ["flash_bytes"]', "line 6: quantities: flash_bytes is counted on a target"),
        (GOOD + "keep = 1.5", r"line 6: keep is 1.5; it must be in \(0, 1\]"),
        (GOOD + "compression_seeds = [-1]", "line 6: compression_seeds"),
        (GOOD + '[[exclude]]\nalgo = "SAC"', "line 7: exclude"),
        (GOOD + "[environments]\n'Hopper-v3' = 4", "environments: 4; write an id"),
        ('recipes = ["quantize()"]', "policies is missing"),
        ("policies = []\nrecipes = []", "line 1: policies is empty"),
        ('policies = ["a"]\nrecipes = [""]', "line 2: recipes is empty"),
        ("policies = [", "not TOML"),
    ],
)
def test_errors_name_the_line(tmp_path, text, message):
    with pytest.raises(LilliputError, match=message):
        read_study(written(tmp_path, text))


def test_a_binary_file_is_no_study(tmp_path):
    path = tmp_path / "policy.zip"
    path.write_bytes(b"PK\x03\x04\xff\xfe")
    with pytest.raises(LilliputError, match="is not a study file"):
        read_study(path)
