"""Stable-Baselines3 and sb3-contrib zips: A2C, PPO, RecurrentPPO, TRPO, ARS, SAC, TD3, DDPG, TQC, CrossQ, (QR-)DQN."""

from collections.abc import Sequence
from typing import assert_never

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers, spaces
from lilliput.policies.layers import Layer
from lilliput.policies.learner import Checkpoint, Learner
from lilliput.policies.load import network, recurrent, sb3_data
from lilliput.policies.load.action_spread import action_std
from lilliput.policies.load.archive import Archive
from lilliput.policies.load.options import Options
from lilliput.policies.load.plain import LAYER_NORMS, norm_among
from lilliput.policies.load.sb3_algorithm import algorithm_of
from lilliput.policies.load.sb3_layout import Family, family_of
from lilliput.policies.load.sb3_saved import WAY_OUT, SavedZip, say_changed, scaled
from lilliput.policies.load.sb3_statistics import Traces, traces
from lilliput.policies.load.torch_file import read_torch
from lilliput.policies.play.wrappers import OneHot, TransposeImage, channels_first, format_wrapper
from lilliput.policies.policy import Policy, Provenance

FRAMEWORK = "stable_baselines3"
CLIP_MEAN = 2.0
"""Default bound of gSDE's mean in SAC and TQC."""
CROSSQ_EPSILON = 1e-3
"""Default epsilon of CrossQ's batch renormalization."""

CHANNELS_UNSAID = (
    "the file does not say whether the environment's images have their channels last, which the framework transposes, "
    "or first: they are transposed where the environment says last"
)

_LSTM = "lstm_actor"
"""As sb3-contrib's RecurrentPPO calls it."""

_ARGUMENTS = {
    "net_arch", "activation_fn", "ortho_init", "use_sde", "log_std_init", "full_std", "use_expln", "squash_output",
    "features_extractor_class", "features_extractor_kwargs", "share_features_extractor", "normalize_images",
    "optimizer_class", "optimizer_kwargs", "n_critics", "n_quantiles", "clip_mean", "batch_norm", "batch_norm_eps",
    "batch_norm_momentum", "renorm_warmup_steps", "lstm_hidden_size", "n_lstm_layers", "shared_lstm",
    "enable_critic_lstm", "lstm_kwargs", "with_bias",
}  # fmt: skip
"""Of the framework's own policies: what its loader reads, or what acting does not need."""

_EXTRACTORS = ("FlattenExtractor", "NatureCNN", "CombinedExtractor")

_ON_POLICY = ("A2C", "PPO", "TRPO", "A2C, PPO or TRPO", "ARS", "MaskablePPO", "RecurrentPPO")
"""Algorithms that keep a raw observation only where a normalizer stood before it."""


def is_stable_baselines3(archive: Archive) -> bool:
    """Whether the archive is a zip that Stable-Baselines3 writes."""
    return "data" in archive


def read_stable_baselines3(archive: Archive, options: Options) -> Checkpoint:
    """The policy's deterministic actor and its learner, without an observation normalizer: that is saved elsewhere.

    Raises:
        LilliputError: damaged, of another framework, or a policy that Lilliput does not have (recurrent, custom, ...).
    """
    name = archive.name
    if "policy.pth" not in archive:
        older = "parameters" in archive or "parameter_list" in archive
        if "data" in archive and b'"__module__": "sbx.' in archive.read("data", sb3_data.MAX_DATA_BYTES):
            raise LilliputError(
                f"{name} is of sbx (JAX): its networks stand in a cloudpickle with code, which is not read; put the "
                "arrays of model.policy.actor_state.params into torch and export that as ONNX (docs/formats.md)"
            )
        hint = "it is of Stable-Baselines 2 (TensorFlow)" if older else "it may be of another framework"
        raise LilliputError(f"{name} has no policy.pth; {hint}: supported are zips of Stable-Baselines3 1.0 and newer")
    data = sb3_data.parse_data(archive.read("data", sb3_data.MAX_DATA_BYTES), f"{name}: data")
    state = network.state_dict(read_torch(archive.read("policy.pth"), f"{name}: policy.pth"), f"{name}: policy.pth")
    observation_space, one_hot = sb3_data.observation_space_of(data, name)
    action_space = sb3_data.action_space_of(data, name)
    saved = SavedZip(name, options, data, state, sb3_data.policy_kwargs(data), observation_space, action_space, [])
    _refuse_unsupported(saved)
    stack = scaled(_stack(saved, family_of(state, name)), name)
    if norm := norm_among(stack, state):
        if saved.custom:
            options.only_layers(name, norm)
        saved.guesses.append(LAYER_NORMS)
    learner = Learner(_critic(saved), action_std(saved.state, "log_std", action_space))
    wrappers = (format_wrapper(OneHot()),) if one_hot else _wrappers(saved)
    algorithm, guesses = algorithm_of(data, state, name), tuple(dict.fromkeys(saved.guesses))
    provenance = Provenance(framework=FRAMEWORK, algorithm=algorithm, wrappers=wrappers, guesses=guesses)
    return Checkpoint(Policy(observation_space, action_space, tuple(stack), provenance), learner)


def _wrappers(saved: SavedZip) -> tuple[str, ...]:
    """What makes the environment's images those that the file's space has: a transpose, where there may have been one.

    The framework saves the space behind its own transpose, which it adds where the channels are not first.
    """
    space = saved.observation_space
    if not _is_image(space):
        return ()
    channels, *rest = spaces.input_shape(space)
    if channels_first((*rest, channels)):
        return ()
    if channels_first((channels, *rest)):
        if saved.options.observation_shape() == (channels, *rest):
            return ()
        saved.guesses.append(CHANNELS_UNSAID)
    return (format_wrapper(TransposeImage()),)


def read_traces(archive: Archive, policy: Policy) -> Traces:
    """What the zip that this policy was read from tells of the observations that it was trained on."""
    data = sb3_data.parse_data(archive.read("data", sb3_data.MAX_DATA_BYTES), f"{archive.name}: data")
    return traces(data, policy.observation_space, on_policy=policy.provenance.algorithm in _ON_POLICY)


def _refuse_unsupported(saved: SavedZip) -> None:
    module, _ = sb3_data.policy_class(saved.data)
    if any("lstm" in key for key in saved.state) and not recurrent.is_there(saved.state, _LSTM):
        raise LilliputError(f"{saved.name} has an LSTM that is not {_LSTM}; supported: sb3-contrib's RecurrentPPO")
    if ".maskable" in module:
        saved.guesses.append(
            "MaskablePPO's choice without a mask: where the environment forbids actions, it may choose one of them"
        )
    if saved.custom:
        if own := sb3_data.own_methods(saved.data):
            raise LilliputError(
                f"{saved.name}: its policy class {saved.custom} has its own {', '.join(own)[:120]}, and may decide "
                "otherwise than the framework; export it with torch.onnx.export and give the ONNX file"
            )
        named = saved.kwargs.get("activation_fn")
        overruled = f" (and another activation than activation_fn = {named!s:.60})" if named is not None else ""
        saved.options.only_layers(
            saved.name,
            f"its policy class {saved.custom} is not the framework's, and its code or that of a class it inherits from "
            f"may compute features, means or actions otherwise{overruled}",
        )
        saved.guesses.append(
            f"the policy class {saved.custom} is not the framework's: its layers are taken to be used as the "
            "framework does, an activation behind each hidden one"
        )
        saved.guesses.extend(
            f"its argument {key[:40]} = {value!r:.60} is the class's own, and not read"
            for key, value in saved.kwargs.items()
            if key not in _ARGUMENTS
        )
    extractor = sb3_data.class_of(saved.kwargs.get("features_extractor_class"))
    theirs, _, kind = extractor.rpartition(".")
    own = theirs.startswith("stable_baselines3.") and kind in _EXTRACTORS
    if "features_extractor_class" in saved.kwargs and not own:
        shown = extractor or str(saved.kwargs["features_extractor_class"])
        raise LilliputError(
            f"{saved.name}: features_extractor_class is {shown[:80]!r}; supported: {', '.join(_EXTRACTORS)}; {WAY_OUT}"
        )


def _stack(saved: SavedZip, family: Family) -> list[Layer]:
    match family:
        case "actor_critic":
            return _actor_critic(saved)
        case "ars":
            return _ars(saved)
        case "squashed_gaussian":
            return _squashed_gaussian(saved)
        case "deterministic":
            return _deterministic(saved)
        case "q_values":
            return _q_values(saved)
        case "quantiles":
            return _quantiles(saved)
        case _:
            assert_never(family)


def _actor_critic(saved: SavedZip) -> list[Layer]:
    """A2C, PPO and TRPO: the mean, clipped or (gSDE with squash_output) squashed, or the likeliest choice."""
    extractor = "pi_features_extractor" if network.has(saved.state, "pi_features_extractor.") else "features_extractor"
    stack = _features(saved, extractor)
    if recurrent.is_there(saved.state, _LSTM):  # RecurrentPPO: between the features and the network
        stack += recurrent.levels(saved.state, _LSTM, saved.name)
    if network.has(saved.state, "mlp_extractor.shared_net.") or network.has(saved.state, "mlp_extractor.policy_net."):
        activation = saved.activation("Tanh")
        for part in ("shared_net", "policy_net"):
            stack += _hidden(saved, f"mlp_extractor.{part}", activation)
        say_changed(saved, r"mlp_extractor\.(?:shared|policy)_net", [64, 64])
    stack.append(network.dense(saved.state, "action_net", saved.name))
    if isinstance(saved.action_space, spaces.Box) and saved.flag("squash_output", default=False):
        if not sb3_data.flag(saved.data.get("use_sde"), "use_sde", saved.name):
            raise LilliputError(
                f"{saved.name} says squash_output without use_sde, which the framework does not do; save it again"
            )
        return stack + network.squash_head(saved.action_space, saved.name)
    return stack + _clip_or_choose(saved)


def _ars(saved: SavedZip) -> list[Layer]:
    """ARS: one linear layer clipped to the bounds, or a network with a tanh at its end."""
    stack = _features(saved, "features_extractor")
    if "action_net.weight" in saved.state:  # sb3_contrib before 1.5
        linear = True
        stack.append(network.dense(saved.state, "action_net", saved.name))
    else:
        activation = _inner_activation(saved, "action_net")
        stack += (chain := network.closed(saved.state, "action_net", activation, saved.name))
        linear = len(chain) == 1
    if "squash_output" in saved.kwargs:
        squash = saved.flag("squash_output", default=True)
    else:
        squash = not (linear and _is_ars_linear(saved))
    if isinstance(saved.action_space, spaces.Box) and squash:
        return stack + network.squash_head(saved.action_space, saved.name)
    return stack + _clip_or_choose(saved)


def _is_ars_linear(saved: SavedZip) -> bool:
    _, kind = sb3_data.policy_class(saved.data)
    if kind == "ARSLinearPolicy" or "Linear policy network" in sb3_data.policy_doc(saved.data):
        return True
    if kind == "ARSPolicy":
        return False
    saved.guesses.append(
        "the file does not say whether one layer's output is clipped or squashed: clipped, as ARS's LinearPolicy does"
    )
    return True


def _squashed_gaussian(saved: SavedZip) -> list[Layer]:
    """SAC, TQC and CrossQ: tanh of the mean; with gSDE the mean is clipped before."""
    stack = _features(saved, "actor.features_extractor")
    pending = None
    if network.has(saved.state, "actor.latent_pi."):
        epsilon = saved.kwargs.get("batch_norm_eps", CROSSQ_EPSILON)
        if not isinstance(epsilon, int | float) or not 0 < epsilon < 1:
            raise LilliputError(f"{saved.name}: batch_norm_eps is {str(epsilon)[:40]!r}; it must be between 0 and 1")
        hidden, pending = network.sequential(
            saved.state, "actor.latent_pi", saved.activation("ReLU"), saved.name, epsilon=epsilon
        )
        stack += hidden
        say_changed(saved, r"actor\.latent_pi", [256, 256])
    clipped = "actor.mu.0.weight" in saved.state
    mean = network.dense(saved.state, "actor.mu.0" if clipped else "actor.mu", saved.name)
    stack.append(network.take_up(mean, pending, saved.name))
    if clipped:
        bound = saved.kwargs.get("clip_mean", CLIP_MEAN)
        if not isinstance(bound, int | float) or not 0 < bound < 1e6:
            raise LilliputError(f"{saved.name}: clip_mean is {str(bound)[:40]!r}; it must be a positive number")
        if "clip_mean" not in saved.kwargs:
            saved.guesses.append(f"the bound of gSDE's mean is not in the file: {CLIP_MEAN:g}, the framework's default")
        stack.append(layers.HardTanh(-float(bound), float(bound)))
    return stack + network.squash_head(_box(saved), saved.name)


def _deterministic(saved: SavedZip) -> list[Layer]:
    """TD3 and DDPG: the network ends in a tanh."""
    stack = _features(saved, "actor.features_extractor")
    stack += network.closed(saved.state, "actor.mu", _inner_activation(saved, "actor.mu"), saved.name)
    say_changed(saved, r"actor\.mu", [400, 300], headed=True)
    return stack + network.squash_head(_box(saved), saved.name)


def _critic(saved: SavedZip) -> tuple[Layer, ...]:
    """What the first critic of SAC, TQC, TD3 or DDPG thinks of an action; none where it is no plain MLP.

    The framework gives it the action scaled to [-1, 1]. The mean over TQC's quantiles folds into the last layer.
    """
    space, shape = saved.action_space, spaces.input_shape(saved.observation_space)
    if not isinstance(space, spaces.Box) or len(shape) != 1 or not np.isfinite([space.low, space.high]).all():
        return ()
    centre, half = ((space.high + space.low) / 2).reshape(-1), ((space.high - space.low) / 2).reshape(-1)
    n = shape[0]
    if (
        not network.has(saved.state, "critic.qf0.")
        or algorithm_of(saved.data, saved.state, saved.name) == "CrossQ"
        or not (half > 0).all()
    ):
        return ()
    centred = layers.Standardize(
        np.concatenate([np.zeros(n), centre]).astype(np.float32),
        np.concatenate([np.ones(n), 1 / half]).astype(np.float32),
        np.asarray(np.inf, np.float32),
    )
    try:
        chain = network.closed(saved.state, "critic.qf0", _inner_activation(saved, "critic.qf0"), saved.name)
        *hidden, last = scaled(chain, saved.name)
    except LilliputError:
        return ()
    assert isinstance(last, layers.Dense)
    bias = None if last.bias is None else last.bias.mean(keepdims=True)
    mean = layers.Dense(last.weight.mean(axis=0, keepdims=True), bias)
    return network.intact((centred, *hidden, mean), n + space.size)


def _q_values(saved: SavedZip) -> list[Layer]:
    """DQN: the choice of the highest value."""
    stack = _features(saved, "q_net.features_extractor")
    stack += network.closed(saved.state, "q_net.q_net", _inner_activation(saved, "q_net.q_net"), saved.name)
    say_changed(saved, r"q_net\.q_net", [64, 64], headed=True)
    return stack + _clip_or_choose(saved)


def _quantiles(saved: SavedZip) -> list[Layer]:
    """QR-DQN: the choice of the highest mean over the quantiles; the mean folds into the last layer."""
    stack = _features(saved, "quantile_net.features_extractor")
    stack += network.closed(
        saved.state, "quantile_net.quantile_net", _inner_activation(saved, "quantile_net.quantile_net"), saved.name
    )
    say_changed(saved, r"quantile_net\.quantile_net", [64, 64], headed=True)
    last = stack.pop()
    if (
        not isinstance(saved.action_space, spaces.Discrete)
        or not isinstance(last, layers.Dense)
        or len(last.weight) % saved.action_space.n
    ):
        raise LilliputError(
            f"{saved.name}: the quantiles are not a whole number for each of the actions of "
            f"{spaces.describe(saved.action_space)}"
        )
    n = saved.action_space.n
    weight = last.weight.reshape(-1, n, last.weight.shape[1]).mean(axis=0, dtype=np.float64).astype(np.float32)
    bias = None if last.bias is None else last.bias.reshape(-1, n).mean(axis=0, dtype=np.float64).astype(np.float32)
    return [*stack, layers.Dense(weight, bias), *_clip_or_choose(saved)]


def _features(saved: SavedZip, prefix: str) -> list[Layer]:
    """What stands before the first trained layer of an MLP, or a NatureCNN."""
    space = saved.observation_space
    parameters = network.sub_state(saved.state, f"{prefix}.")
    if isinstance(space, spaces.Dict):
        if parameters or any(_is_image(box) for _, box in space.boxes):
            raise LilliputError(
                f"{saved.name} takes a Dict observation with images or a network of its own a key; supported: a Dict "
                "of vectors"
            )
        return []
    stack: list[Layer] = (
        [network.scale_image()] if _is_image(space) and saved.flag("normalize_images", default=True) else []
    )
    if not parameters:
        return [*stack, layers.Flatten()] if len(space.shape) != 1 else stack
    if not network.has(parameters, "cnn.") or not network.has(parameters, "linear.0."):
        raise LilliputError(
            f"{saved.name}: {prefix} has {', '.join(sorted(parameters)[:4])}, ...; supported: NatureCNN or none"
        )
    stack += network.nature_convolutions(saved.state, [f"{prefix}.cnn.{i}" for i in (0, 2, 4)], saved.name)
    return [*stack, network.dense(saved.state, f"{prefix}.linear.0", saved.name), layers.Relu()]


def _is_image(space: spaces.ObservationSpace) -> bool:
    """What the framework takes for an image, which it divides by 255."""
    return (
        isinstance(space, spaces.Box)
        and len(space.shape) == 3
        and space.dtype == "uint8"
        and bool((space.low == 0).all() and (space.high == 255).all())
    )


def _hidden(saved: SavedZip, prefix: str, activation: Sequence[Layer]) -> list[Layer]:
    found, pending = network.sequential(saved.state, prefix, activation, saved.name)
    if pending is not None:
        raise LilliputError(f"{saved.name}: {prefix} ends in a batch normalization; supported: before a Linear layer")
    return found


def _inner_activation(saved: SavedZip, prefix: str) -> Sequence[Layer]:
    """The activation of a network of several layers; none is needed, or guessed, for one."""
    several = any(_index(key, f"{prefix}.", saved.name) > 0 for key in saved.state if key.startswith(f"{prefix}."))
    return saved.activation("ReLU") if several else ()


def _index(key: str, prefix: str, name: str) -> int:
    number = key.removeprefix(prefix).partition(".")[0]
    if not number.isascii() or not number.isdigit() or len(number) > 4:
        raise LilliputError(f"{name} has the key {key[:60]!r}; supported: numbered layers under {prefix}")
    return int(number)


def _box(saved: SavedZip) -> spaces.Box:
    if not isinstance(saved.action_space, spaces.Box):
        raise LilliputError(
            f"{saved.name} has a continuous actor and the action space {spaces.describe(saved.action_space)}; it must "
            "be a Box"
        )
    return saved.action_space


def _clip_or_choose(saved: SavedZip) -> list[Layer]:
    match saved.action_space:
        case spaces.Box():
            return network.clip_head(saved.action_space)
        case spaces.Discrete(n=n):
            return [layers.ArgmaxAction((n,))]
        case spaces.MultiDiscrete(sizes=sizes):
            return [layers.ArgmaxAction(sizes)]
