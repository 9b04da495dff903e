"""Teachers and students that remember: what the teacher says on the way, and students that learn a task of memory."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from tests.arrays import f32
from tests.policies.recurrent import dense, every_memory, gru, lstm, policy_with, walk

from lilliput.errors import LilliputError, NotApplicable
from lilliput.policies import layers, reference, spaces
from lilliput.policies.compress import Context, compress, parse
from lilliput.policies.compress.distill_play import Disturbance, Seen, Teacher, Watch, collect
from lilliput.policies.export import export, open_artifact
from lilliput.policies.play import EnvironmentSpec, Lockstep, episode_returns
from lilliput.policies.policy import Policy

RECALL = "tests.policies.compress.test_distill_memory:Recall-v0"


class Recall(gymnasium.Env):
    """Pays for the action that is the number which was seen three steps before, or zero in the first three."""

    DELAY, STEPS = 3, 30

    def __init__(self) -> None:
        self.observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._cues = np.sign(self.np_random.uniform(-1, 1, self.STEPS + 1)) * 0.8
        self._step = 0
        return self._seen(), {}

    def _seen(self) -> np.ndarray:
        return np.array([self._cues[self._step], 0.25], np.float32)

    def step(self, action):
        wanted = self._cues[self._step - self.DELAY] if self._step >= self.DELAY else 0.0
        reward = 1 - abs(float(np.asarray(action).reshape(-1)[0]) - wanted)
        self._step += 1
        return self._seen(), reward, False, self._step == self.STEPS, {}


gymnasium.register("Recall-v0", entry_point=f"{__name__}:Recall")


def recalling() -> Policy:
    """What does it exactly, from the last four observations."""
    weight = np.zeros((1, 8), np.float32)
    weight[0, 0] = 1
    space = spaces.Box((2,), np.full(2, -1.0), np.full(2, 1.0))
    stack = (layers.History(4), layers.Dense(weight, np.zeros(1, np.float32)))
    return Policy(space, spaces.Box((1,), np.array([-1.0]), np.array([1.0])), stack)


def share(policy: Policy) -> float:
    """Of the return that there is."""
    return float(episode_returns(policy, RECALL, range(500, 508)).mean()) / Recall.STEPS


@pytest.mark.parametrize("name", every_memory())
def test_a_watch_remembers_what_the_reference_does(name: str) -> None:
    """Rows that begin at different steps, over two calls: the memory goes on between them."""
    policy = every_memory()[name]
    rng = np.random.default_rng(0)
    x = np.stack([walk(policy, 12, seed) for seed in range(3)], axis=1)
    begins = rng.random((12, 3)) < 0.2
    begins[0] = True
    watch, rows, teacher = Watch(Teacher(policy).stack), reference.Rows(policy), Teacher(policy)
    said = [teacher.chosen(watch.over(Seen(x[a:b], begins[a:b]))) for a, b in ((0, 5), (5, 12))]
    expected = np.concatenate([rows(one, begin) for one, begin in zip(x, begins, strict=True)])
    if policy.is_discrete:
        assert np.mean(np.concatenate(said) == expected) == 1
    else:
        np.testing.assert_allclose(np.concatenate(said), expected, atol=2e-6)


def test_the_watch_follows_rows_whose_episodes_end() -> None:
    policy = recalling()
    lockstep = Lockstep(EnvironmentSpec(RECALL), policy.observation_space, 3, iter(range(99)))
    rows = reference.Rows(policy)
    seen = collect(lockstep, rows, Disturbance(0.0, lockstep, np.random.default_rng(0)), 3 * 70)
    assert seen.begins[[0, 30, 60]].all()
    assert seen.begins.sum() == 9
    said = Watch(policy.layers).over(seen).reshape(70, 3)
    np.testing.assert_allclose(said[3:30], seen.observations[:27, :, 0], atol=1e-6)
    np.testing.assert_array_equal(said[30:33], 0)  # the next episode knows nothing of the one before


def test_of_a_teacher_with_a_memory_the_inputs_are_found_that_its_memory_needs() -> None:
    weight = np.zeros((1, 8), np.float32)
    weight[0, 1] = 1  # the second number of the oldest observation
    teacher = Teacher(replace(recalling(), layers=(layers.History(4), layers.Dense(weight, None))))
    x = f32(np.random.default_rng(0).normal(size=(64, 8, 2)))
    assert list(teacher.needed_inputs(Seen(x, np.arange(64)[:, None] * np.ones((1, 8)) == 0), 1)) == [1]


def test_a_student_without_memory_cannot_recall_and_with_one_it_does() -> None:
    """After the same steps: what the last observation does not hold is not learned without a history or a memory."""
    context = Context.from_environment(recalling(), RECALL)
    assert share(recalling()) == pytest.approx(1)
    blind = compress(recalling(), "distill(hidden=(), steps=200, restarts=1)", context)
    assert not blind.has_memory
    assert share(blind) < 0.5
    sees = compress(recalling(), "distill(hidden=(), steps=200, restarts=1, history=4)", context)
    assert isinstance(sees.layers[0], layers.History)
    assert share(sees) > 0.9


@pytest.mark.slow
def test_a_student_that_remembers_learns_to_recall_also_in_codes() -> None:
    context = Context.from_environment(recalling(), RECALL)
    small = compress(recalling(), "distill(hidden=(), memory=8, steps=900, weight_bits=8)", context)
    kinds = [type(layer) for layer in small.layers]
    assert kinds == [layers.Gru, layers.QuantizedDense]
    memory = small.layers[0]
    assert isinstance(memory, layers.Gru)
    assert isinstance(memory.input, layers.QuantizedDense)
    assert memory.input.weight.bits == 8
    assert share(small) > 0.85


@pytest.mark.slow
def test_finetuning_brings_back_what_pruning_took_from_a_memory(tmp_path) -> None:
    """And what it gives runs: the artifact in C says what the reference does."""
    context = Context.from_environment(recalling(), RECALL)
    whole = compress(recalling(), "distill(hidden=(), memory=10, steps=700)", context)
    own = Context.from_environment(whole, RECALL)
    cut = compress(whole, "prune_units(ratio=0.2)", own)
    back = compress(whole, "prune_units(ratio=0.2) | finetune(steps=300)", own)
    assert [type(layer) for layer in back.layers] == [type(layer) for layer in cut.layers]
    assert back.n_parameters == cut.n_parameters
    assert share(back) > share(cut) + 0.05
    assert share(back) > 0.85
    quantized = compress(back, "finetune(steps=60, weight_bits=8)", Context.from_environment(back, RECALL))
    export(quantized, "c", tmp_path / "c")
    act = open_artifact(tmp_path / "c").begin()
    x = walk(quantized, 40)
    expected = reference.act_episode(quantized, np.clip(x, -1, 1))
    np.testing.assert_allclose([act(row) for row in np.clip(x, -1, 1)], expected, atol=0.05)


def test_a_history_is_finetuned_as_it_is() -> None:
    context = Context.from_environment(recalling(), RECALL)
    off = replace(recalling(), layers=(recalling().layers[0], layers.Dense(np.full((1, 8), 0.1, np.float32), None)))
    back = compress(off, "finetune(steps=120, restarts=1)", context)
    assert [type(layer) for layer in back.layers] == [layers.History, layers.Dense]
    assert share(back) > share(off) + 0.1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("distill(memory=0)", "memory is 0; it must be from 1"),
        ("distill(memory=4, history=2)", "history is nothing that a student with a memory uses"),
        ("distill(memory=4, restarts=2)", "restarts is nothing that a student with a memory uses"),
        ('distill(memory=4, input_range="none")', "input_range is nothing that a student with a memory uses"),
        ("distill(memory=4, hidden=(), weight_bits=(8,))", "one number of weight_bits for all layers"),
    ],
)
def test_what_a_student_with_a_memory_cannot_be_is_said(text: str, message: str) -> None:
    with pytest.raises(LilliputError, match=message):
        parse(text)


def test_what_finetuning_does_not_do_with_a_memory_is_said() -> None:
    rng = np.random.default_rng(0)
    policy = policy_with(lstm(rng, 5, 4))
    context = Context(policy)
    for text, message in (
        ("finetune(sparsity=0.5)", "sparsity is nothing that a policy with a memory uses"),
        ("finetune(restarts=2)", "restarts is nothing that a policy with a memory uses"),
        ('finetune(objective="return")', "name it"),
        ("finetune()", "finetune plays the environment; name it"),
    ):
        with pytest.raises(LilliputError, match=message):
            compress(policy, text, context)
    first = policy_with(gru(rng, 5, 4, reset_first=True))
    with pytest.raises(NotApplicable, match="a GRU that resets first"):
        compress(first, "finetune()", Context.from_environment(first, RECALL))
    norm = layers.LayerNorm(np.ones(4, np.float32), np.zeros(4, np.float32))
    normed = policy_with(gru(rng, 5, 4), dense(rng, 4, 4), norm)
    with pytest.raises(NotApplicable, match="is LayerNorm"):
        compress(normed, "finetune()", Context.from_environment(normed, RECALL))
