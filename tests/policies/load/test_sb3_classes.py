"""Policies of other classes than the framework's, and spaces that none here takes."""

import base64
import importlib
import pickle
import pkgutil
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from lilliput.errors import LilliputError
from lilliput.policies import reference
from lilliput.policies import spaces as lilliput_spaces
from lilliput.policies.load import load_policy
from lilliput.policies.load.options import Options
from lilliput.policies.load.sb3_saved import SavedZip

torch = pytest.importorskip("torch")
sb3 = pytest.importorskip("stable_baselines3")
contrib = pytest.importorskip("sb3_contrib")

from tests.policies.load.frameworks import (  # noqa: E402
    ACTIONS,
    DISCRETE,
    Still,
    assert_same_actions,
    observations,
    predicted,
    save,
    shaken,
    vector,
)

pytestmark = [pytest.mark.frameworks, pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]


@pytest.fixture(autouse=True)
def same_networks() -> None:
    torch.manual_seed(0)


def ppo(observation_space: Any, action_space: Any, **options: Any) -> Any:
    return sb3.PPO("MlpPolicy", Still(observation_space, action_space), n_steps=8, device="cpu", **options)


class Network(torch.nn.Module):
    """The custom network of the framework's documentation: an activation behind each layer, which no key names."""

    def __init__(self, n_features: int, activation: Any) -> None:
        super().__init__()
        self.latent_dim_pi, self.latent_dim_vf = 16, 8
        self.policy_net = torch.nn.Sequential(torch.nn.Linear(n_features, 16), activation())
        self.value_net = torch.nn.Sequential(torch.nn.Linear(n_features, 8), activation())

    def forward(self, features: Any) -> Any:
        return self.forward_actor(features), self.forward_critic(features)

    def forward_actor(self, features: Any) -> Any:
        return self.policy_net(features)

    def forward_critic(self, features: Any) -> Any:
        return self.value_net(features)


def custom_policy(activation: Any) -> Any:
    class Custom(sb3.common.policies.ActorCriticPolicy):
        def __init__(self, *given: Any, gain: float = 1.0, **named: Any) -> None:
            super().__init__(*given, **named)

        def _build_mlp_extractor(self) -> None:
            self.mlp_extractor = Network(self.features_dim, activation)  # type: ignore[assignment]

    return Custom


@pytest.mark.parametrize("kind", ["ReLU", "ELU", "SiLU", "Tanh"])
def test_a_custom_network_asks_for_its_activation(kind: str, tmp_path: Path) -> None:
    policy_class = custom_policy(getattr(torch.nn, kind))
    own = {"gain": 0.5}
    model = shaken(sb3.PPO(policy_class, Still(vector(), ACTIONS), n_steps=8, policy_kwargs=own, device="cpu"))
    path = save(model, tmp_path)
    with pytest.raises(LilliputError, match=r"Custom is not the framework's.*give --plain"):
        load_policy(path, activation=kind.lower())
    with pytest.raises(LilliputError, match=r"Custom is not the framework's.*give --activation relu\|tanh"):
        load_policy(path, plain=True)
    policy = load_policy(path, activation=kind.lower(), plain=True)
    batch = observations(model.observation_space)
    assert_same_actions(reference.act(policy, batch), predicted(model, batch), ACTIONS)
    assert f"the hidden activation is not in the file: {kind.lower()}, as given" in policy.provenance.guesses
    assert "its argument gain = 0.5 is the class's own, and not read" in policy.provenance.guesses


def test_an_activation_for_a_network_that_has_none_or_names_it_is_refused(tmp_path: Path) -> None:
    named = {"activation_fn": torch.nn.ELU}
    for kwargs, ending in ((named, "named"), ({"net_arch": []}, "linear")):
        model = sb3.PPO("MlpPolicy", Still(vector(), ACTIONS), n_steps=8, policy_kwargs=kwargs, device="cpu")
        path = save(model, tmp_path, ending)
        load_policy(path)
        with pytest.raises(LilliputError, match="needs no activation to be read"):
            load_policy(path, activation="relu")


def refusals() -> list[Any]:
    return [
        pytest.param(
            lambda: ppo(vector(), spaces.MultiBinary(3)),
            "action_space is MultiBinary; supported: Box, Discrete",
            id="bits",
        ),
        pytest.param(
            lambda: sb3.PPO(OwnHead, Still(vector(), ACTIONS), n_steps=8, device="cpu"),
            r"OwnHead has its own _get_action_dist_from_latent, and may decide otherwise",
            id="own head",
        ),
        pytest.param(
            lambda: ppo(vector(), DISCRETE, policy_kwargs={"features_extractor_class": Doubling}),
            "features_extractor_class is .*Doubling.*supported: FlattenExtractor, NatureCNN.*export the actor",
            id="extractor",
        ),
        pytest.param(
            lambda: ppo(vector(), DISCRETE, policy_kwargs={"activation_fn": Steep}),
            "activation_fn is .*Steep.*supported: torch.nn's .*Tanh.*export the actor",
            id="activation",
        ),
        pytest.param(
            dropping,
            "has 2 modules without parameters before module 3, and not which.*give the ONNX file",
            id="dropout",
        ),
    ]


class Steep(torch.nn.ReLU):
    def forward(self, x: Any) -> Any:
        return 3 * super().forward(x)


def dropping() -> Any:
    model = ppo(vector(), DISCRETE)
    model.policy.mlp_extractor.policy_net.insert(2, torch.nn.Dropout(0.1))
    return model


class Doubling(sb3.common.torch_layers.BaseFeaturesExtractor):
    def __init__(self, observation_space: gymnasium.Space) -> None:
        super().__init__(observation_space, 10)

    def forward(self, x: Any) -> Any:
        return torch.cat([x, x], 1)


class OwnHead(sb3.common.policies.ActorCriticPolicy):
    def _get_action_dist_from_latent(self, latent_pi: Any) -> Any:
        return super()._get_action_dist_from_latent(0.5 * latent_pi)


class Inherits(OwnHead):
    """Has no function of its own; what decides stands in its base."""


class Halves:
    def _predict(self, observation: Any, deterministic: bool = False) -> Any:
        return super()._predict(observation, deterministic) / 2  # type: ignore[misc]


class Mixed(Halves, sb3.common.policies.ActorCriticPolicy):
    """The same in a mixin."""


@pytest.mark.parametrize("policy_class", [Inherits, Mixed])
@pytest.mark.parametrize("by_value", [False, True])
def test_what_a_policy_class_inherits_is_asked_about(
    policy_class: Any, by_value: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by_value:  # as a class of a script, which cloudpickle stores whole
        for one in (policy_class, *policy_class.__bases__):
            if one.__module__ == __name__:
                monkeypatch.setattr(one, "__module__", "__main__")
    kwargs = {"activation_fn": torch.nn.ELU}
    path = save(
        sb3.PPO(policy_class, Still(vector(), ACTIONS), n_steps=8, policy_kwargs=kwargs, device="cpu"), tmp_path
    )
    with pytest.raises(LilliputError, match=r"is not the framework's.*inherits from.*activation_fn.*give --plain"):
        load_policy(path)


def test_a_class_of_a_changed_copy_of_the_framework_is_not_the_framework_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forks put their policies into the framework's modules."""
    theirs = sb3.common.policies
    monkeypatch.setattr(OwnHead, "__module__", theirs.__name__)
    monkeypatch.setattr(theirs, "OwnHead", OwnHead, raising=False)
    path = save(sb3.PPO(OwnHead, Still(vector(), ACTIONS), n_steps=8, device="cpu"), tmp_path)
    with pytest.raises(LilliputError, match=r"stable_baselines3\.common\.policies\.OwnHead has its own"):
        load_policy(path)


def test_every_policy_class_of_the_framework_is_its_own() -> None:
    base = sb3.common.policies.BasePolicy
    found = {
        one
        for package in (sb3, contrib)
        for entry in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        if entry.name.endswith(".policies")
        for one in vars(importlib.import_module(entry.name)).values()
        if isinstance(one, type) and issubclass(one, base) and one is not base
    }
    kinds = {one for one in found if one.__name__ not in ("Actor", "QNetwork", "QuantileNetwork")}  # the others: parts
    assert len(kinds) > 15
    for one in (*kinds, OwnHead):
        pickled = base64.b64encode(pickle.dumps(one)).decode()
        data = {"policy_class": {":serialized:": pickled, "__module__": one.__module__}}
        box = lilliput_spaces.Box((1,), np.zeros(()), np.ones(()))
        saved = SavedZip("x.zip", Options(), data, {}, {}, box, box, [])
        assert saved.custom == ("" if one in kinds else f"{__name__}.OwnHead")


@pytest.mark.parametrize(("make", "message"), refusals())
def test_what_is_refused_is_said(make: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(LilliputError, match=message) as caught:
        load_policy(save(make(), tmp_path))
    assert "\n" not in str(caught.value)
