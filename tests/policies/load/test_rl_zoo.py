"""Training folders as rl-zoo lays them out."""

from pathlib import Path

import numpy as np
import pytest
from tests.policies.load.checkpoints import FOLDER, expected

from lilliput.errors import LilliputError
from lilliput.policies import layers, reference
from lilliput.policies.load import load_policy

TIME = "sb3_contrib.common.wrappers.TimeFeatureWrapper"
ATARI = "stable_baselines3.common.atari_wrappers.AtariWrapper"


LAUGHS = "a0: &a0 [1]\n" + "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9))


def ordered(*pairs: str) -> str:
    """Pairs of YAML as rl-zoo writes them: a pickled OrderedDict."""
    lines = ["!!python/object/apply:collections.OrderedDict"]
    for index, pair in enumerate(pairs):
        key, value = pair.split(": ", 1)
        lines.append(f"{'- - -' if index == 0 else '  - -'} {key}\n    - {value}")
    return "\n".join(lines) + "\n"


def run_folder(folder: Path, config: str, *, statistics: bool = True) -> Path:
    run = folder / "ppo" / "Still-v0_1"
    inner = run / "Still-v0"
    inner.mkdir(parents=True)
    (run / "Still-v0.zip").write_bytes((FOLDER / "ppo.zip").read_bytes())
    (inner / "config.yml").write_text(config)
    (inner / "args.yml").write_text(ordered("algo: ppo", "env: Still-v0", "seed: 1"))
    if statistics:
        (inner / "vecnormalize.pkl").write_bytes((FOLDER / "vecnormalize.pkl").read_bytes())
    return run


def test_the_run_its_inner_folder_and_its_zip_are_one_policy(tmp_path: Path) -> None:
    run = run_folder(tmp_path, ordered(f"env_wrapper: {TIME}", "normalize: true"))
    batch, actions = expected("ppo_normalized")
    for source in (run, run / "Still-v0", run / "Still-v0.zip"):
        policy = load_policy(source)
        np.testing.assert_allclose(reference.act(policy, batch), actions, atol=2e-6)
        assert policy.provenance.wrappers == ("time_feature",)
        assert policy.provenance.environment == "Still-v0"
        assert policy.provenance.source == "Still-v0.zip"


def test_the_best_model_of_a_run_takes_the_run_s_statistics(tmp_path: Path) -> None:
    run = run_folder(tmp_path, ordered("normalize: true"))
    (run / "best_model.zip").write_bytes((run / "Still-v0.zip").read_bytes())
    assert load_policy(run / "best_model.zip").digest == load_policy(run).digest
    assert load_policy(run).provenance.source == "Still-v0.zip"


@pytest.mark.parametrize(
    ("value", "normalized"),
    [
        ("true", True),
        ("false", False),
        ("dict(norm_obs=True, norm_reward=False)", True),
        ("dict(norm_obs=False, norm_reward=True)", False),
        ("\"{'norm_obs': False, 'norm_reward': True}\"", False),
        ("{norm_obs: false, norm_reward: true}", False),
        ("true\n  - - normalize_kwargs\n    - {norm_obs: false, norm_reward: true}", False),
        ("true\n  - - normalize_kwargs\n    - {norm_obs: true, norm_reward: false}", True),
        ("null", False),
    ],
)
def test_the_configuration_decides_whether_observations_are_normalized(
    value: str, normalized: bool, tmp_path: Path
) -> None:
    policy = load_policy(run_folder(tmp_path, ordered(f"normalize: {value}")))
    assert isinstance(policy.layers[0], layers.Standardize) is normalized


def test_statistics_that_are_missing_are_asked_for(tmp_path: Path) -> None:
    run = run_folder(tmp_path, ordered("normalize: true"), statistics=False)
    with pytest.raises(LilliputError, match=r"no vecnormalize.pkl; give --normalizer FILE"):
        load_policy(run)
    assert load_policy(run, normalizer=FOLDER / "vecnormalize.pkl").n_parameters > 0
    assert not isinstance(load_policy(run, normalizer=False).layers[0], layers.Standardize)


@pytest.mark.parametrize(
    ("config", "wrappers"),
    [
        ("policy: MlpPolicy", ()),
        (f"env_wrapper: {TIME}", ("time_feature",)),
        (
            f"env_wrapper: [{TIME}: {{max_steps: 500, test_mode: true}}]",
            ("time_feature(max_steps=500, test_mode=True)",),
        ),
        (f"env_wrapper: [stable_baselines3.common.monitor.Monitor, {TIME}]", ("time_feature",)),
        (
            f"env_wrapper: {{{ATARI}: {{terminal_on_life_loss: false, clip_reward: false}}}}",
            ("atari(terminal_on_life_loss=False)",),
        ),
        (f"env_wrapper: [{ATARI}]\nframe_stack: 4", ("atari", "frame_stack")),
        ("frame_stack: 2", ("frame_stack(n_stack=2)",)),
        ("env_wrapper: gymnasium.wrappers.RescaleAction", ("rescale_action",)),
        (
            "env_wrapper: [gym.wrappers.RescaleAction: {min_action: -2, max_action: 2}]",
            ("rescale_action(low=-2.0, high=2.0)",),
        ),
    ],
)
def test_wrappers_are_named_from_the_closed_list(config: str, wrappers: tuple[str, ...], tmp_path: Path) -> None:
    assert load_policy(run_folder(tmp_path, config, statistics=False)).provenance.wrappers == wrappers


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("env_wrapper: my.own.Wrapper", "environment wrapper 'my.own.Wrapper' is not supported; known: sb3_contrib"),
        ("env_wrapper: [{my.own.Wrapper: {a: 1}}]", "'my.own.Wrapper' is not supported"),
        ("vec_env_wrapper: my.VecWrapper", "'my.VecWrapper' is not supported"),
        (f"env_wrapper: [{TIME}: {{steps: 3}}]", "has the argument steps=3; supported: max_steps, test_mode"),
        (f"env_wrapper: [{TIME}: {{max_steps: many}}]", "has the argument max_steps=many"),
        (f"env_wrapper: [{ATARI}: {{action_repeat_probability: 0.25}}]", "has action_repeat_probability"),
        ("env_wrapper: 3", "env_wrapper is '3'; it must be a name"),
        ("frame_stack: 0", "frame_stack is '0'; it must be a whole number from 1"),
        ("frame_stack: !!python/object/apply:os.system ['touch /tmp/lilliput-was-here']", "frame_stack is"),
        ("a: [", "config.yml is not readable YAML"),
        ("[" * 5000, "config.yml is not readable YAML"),
        ("just text", "holds no settings by name"),
        (LAUGHS, "nested deeper or wider"),
        ("a: &a [*a]", "nested deeper or wider"),
        ("# " + "x" * 300_000, "has 300002 bytes; at most"),
    ],
)  # fmt: skip
def test_configurations_that_cannot_be_honoured_are_refused_in_one_line(
    config: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(LilliputError, match=message) as caught:
        load_policy(run_folder(tmp_path, config))
    assert "\n" not in str(caught.value)
    assert not Path("/tmp/lilliput-was-here").exists()


def test_a_folder_with_several_zips_asks_for_one(tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        (tmp_path / name).write_bytes((FOLDER / "ppo.zip").read_bytes())
    with pytest.raises(LilliputError, match=r"holds 2 zip files \(a.zip, b.zip\); give the path of one"):
        load_policy(tmp_path)


def test_arguments_of_the_environment_are_noted(tmp_path: Path) -> None:
    run = run_folder(tmp_path, "normalize: false")
    (run / "Still-v0" / "env_kwargs.yml").write_text("{gravity: 3}")
    assert any("gravity" in guess for guess in load_policy(run).provenance.guesses)


@pytest.mark.parametrize("normalized", [True, False])
def test_a_folder_of_the_hub_holds_everything_side_by_side(normalized: bool, tmp_path: Path) -> None:
    """What `rl_zoo3.push_to_hub` uploads; `ppo-Still-v0/` is the zip, unpacked."""
    (tmp_path / "ppo-Still-v0").mkdir()
    (tmp_path / "ppo-Still-v0" / "policy.pth").touch()
    (tmp_path / "ppo-Still-v0.zip").write_bytes((FOLDER / "ppo.zip").read_bytes())
    (tmp_path / "train_eval_metrics.zip").write_bytes(b"PK")
    (tmp_path / "config.yml").write_text(ordered(f"env_wrapper: {TIME}", f"normalize: {str(normalized).lower()}"))
    (tmp_path / "args.yml").write_text(ordered("algo: ppo", "env: Still-v0", "seed: 1"))
    (tmp_path / "vec_normalize.pkl").write_bytes((FOLDER / "vecnormalize.pkl").read_bytes())
    for source in (tmp_path, tmp_path / "ppo-Still-v0.zip", tmp_path / "ppo-Still-v0"):
        policy = load_policy(source)
        assert policy.provenance.environment == "Still-v0"
        assert policy.provenance.wrappers == ("time_feature",)
        assert isinstance(policy.layers[0], layers.Standardize) is normalized
