"""Settings of trainings: a closed set, each in its range, and where tuned ones come from."""

import dataclasses
import re

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("stable_baselines3")
pytest.importorskip("sb3_contrib")

from tests.policies.learn.toys import FOLLOW, SIGN, quick  # noqa: E402

from lilliput.errors import LilliputError  # noqa: E402
from lilliput.policies.learn import train  # noqa: E402
from lilliput.policies.learn.rl import setting  # noqa: E402
from lilliput.policies.learn.rl.algorithm import ALGORITHMS  # noqa: E402
from lilliput.policies.learn.rl.hyperparameters import _zoo, accepted_by, tuned  # noqa: E402

pytestmark = pytest.mark.frameworks


def test_settings_are_a_closed_set(tmp_path):
    with pytest.raises(LilliputError, match=r"no setting 'leaning_rate'; did you mean learning_rate\? allowed: "):
        train("ppo", SIGN, tmp_path / "out", steps=10, settings={"leaning_rate": 1})


def test_noise_on_actions_is_no_setting_of_what_plays_without(tmp_path):
    with pytest.raises(LilliputError, match="sac has no setting 'noise_std'"):
        train("sac", FOLLOW, tmp_path / "out", steps=10, settings={"noise_std": 0.3})


def test_an_algorithm_is_one_row(tmp_path, monkeypatch):
    monkeypatch.setitem(ALGORITHMS, "calm", dataclasses.replace(ALGORITHMS["td3"], noise=0.01))
    trained = train("calm", FOLLOW, tmp_path / "out", steps=60, settings=quick("td3")[1])
    assert trained.policy.provenance.algorithm == "CALM"
    with pytest.raises(LilliputError, match=r"calm has no setting 'loudness'; allowed: .*noise_std"):
        train("calm", FOLLOW, tmp_path / "other", steps=10, settings={"loudness": 1})


def test_tuned_hyperparameters_name_the_environment_they_are_for():
    row, source = tuned("ppo", "HumanoidStandup-v4", image=False)
    assert row["batch_size"] == 32
    assert "tuned on HumanoidStandup-v2" in source
    none, said = tuned("ppo", FOLLOW, image=False)
    assert none == {}
    assert "defaults" in said


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_every_setting_of_the_frameworks_and_of_the_zoo_is_known(name):
    for one in accepted_by(ALGORITHMS[name]):
        assert one in {*setting.COUNTS, *setting.SHARES, *setting.SWITCHES, *setting.NUMBERS}
        with pytest.raises(LilliputError, match=f"{one} is"):
            setting.check(one, "much")
        with pytest.raises(LilliputError, match=f"{one} is"):
            setting.check(one, float("nan"))
    for row in _zoo()["algorithms"][name].values():
        for one in row.keys() & {*accepted_by(ALGORITHMS[name]), "n_envs", "noise_std"}:
            setting.check(one, row[one])


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("sac", {"buffer_size": "big"}, "buffer_size is big; it must be an integer from 1"),
        ("sac", {"batch_size": 0}, "batch_size is 0"),
        ("td3", {"noise_std": float("nan")}, "noise_std is nan"),
        ("td3", {"train_freq": [1, "day"]}, "train_freq is"),
        ("tqc", {"gradient_steps": 0}, "gradient_steps is 0; it must be -1, or an integer from 1"),
        ("ppo", {"gamma": 7}, "gamma is 7; it must be a number from 0 to 1"),
        ("ppo", {"n_steps": 1, "n_envs": 1}, "cannot be made"),
        ("a2c", {"use_sde": 1}, "use_sde is 1; it must be true or false"),
    ],
)
def test_a_setting_out_of_range_is_refused_and_leaves_no_trace(name, settings, message, tmp_path):
    with pytest.raises(LilliputError, match=re.escape(message)) as caught:
        train(name, quick(name)[0], tmp_path / "out", steps=10, settings=settings)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
