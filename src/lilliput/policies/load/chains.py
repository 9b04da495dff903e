"""State dicts of actors whose Linear layers have names of their own: one row a program that many people use.

A row's activation and head are the program's and noted as guesses; the options overrule them. Where programs differ
(fc1, fc2, fc3 is a DQN of one course and a DDPG of another) the options have to say.
"""

import re
from dataclasses import dataclass
from functools import partial
from typing import Final, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers, spaces
from lilliput.policies.layers import Layer
from lilliput.policies.learner import Checkpoint
from lilliput.policies.load import network
from lilliput.policies.load.action_spread import with_std
from lilliput.policies.load.actor import convention, vector_policy
from lilliput.policies.load.layout import Layout, linear
from lilliput.policies.load.plain import outputs_said
from lilliput.policies.load.saved import Saved
from lilliput.policies.load.source import Source
from lilliput.policies.load.torch_activation import BY_OPTION
from lilliput.policies.load.vecnormalize import Normalizer, RunningStatistics, standardize
from lilliput.policies.policy import Policy, Provenance


@final
@dataclass(frozen=True)
class LinearChain:
    """Linear layers one after the other, the hidden ones each behind its norm and activation.

    Attributes:
        what: the program, as errors and docs spell it; algorithm: as provenance does.
        linear: names of the Linear layers, the action's last; norms: of what stands behind the hidden ones.
        activation: of the hidden layers; action: how outputs become an action. None: programs differ.
        units: the sizes of hidden layers that the program gives, where its names are anybody's; of other sizes the file
            is taken for another program's, and activation and action have to be said.
        std: the key of one log standard deviation an action; spread: of Linear layers for it;
            critic: of the one that gives the state's value.
        normalizer: keys of mean and variance, and the clip.
        others: a sentence on programs whose files have the same names and mean something else.
    """

    what: str
    algorithm: str
    linear: tuple[str, ...]
    activation: str | None
    action: str | None
    units: tuple[tuple[int, ...], ...] = ()
    norms: tuple[str, ...] = ()
    norm_keys: tuple[str, str] = ("weight", "bias")
    std: str = ""
    spread: tuple[str, ...] = ()
    critic: tuple[str, ...] = ()
    normalizer: tuple[str, str, float] | None = None
    others: str = ""


def _read(chain: LinearChain, saved: Saved, source: Source) -> Policy | Checkpoint:
    state, name = saved.arrays, saved.name
    guesses: list[str] = []
    hidden, action = source.options.take("activation"), source.options.take("action")
    if _is_known_by_names(chain) and action is None:
        _check_actor(chain, saved)
    units = tuple(state[f"{key}.weight"].shape[0] for key in chain.linear[:-1] if f"{key}.weight" in state)
    known = not chain.units or units in chain.units
    if not known or chain.activation is None or chain.action is None:
        activation, head = source.options.hidden_and_action(name)
        guesses.append(f"the layers {', '.join(chain.linear)} are taken one after the other, with nothing else between")
        guesses += outputs_said(saved, chain.linear[-1], source)
    else:
        activation, head = BY_OPTION[hidden or chain.activation], action or chain.action
        if hidden is None:
            guesses.append(convention("the hidden activation", chain.activation, chain.what))
    stack: list[Layer] = []
    if chain.normalizer is not None:
        stack.append(_standardize(chain.normalizer, saved))
    guesses += [chain.others] if chain.others else []
    for index, key in enumerate(chain.linear):
        stack.append(network.dense(state, key, name))
        if index < len(chain.linear) - 1:
            stack += [*_norm(chain, index, state, name), *activation]
    said = Provenance(framework="torch", algorithm=chain.algorithm, guesses=tuple(guesses))
    policy = vector_policy(stack, head, source, said)
    return with_std(policy, state, chain.std) if chain.std else policy


def _is_known_by_names(chain: LinearChain) -> bool:
    """Whether nothing but the names of Linear layers tells the program's actor from its critic."""
    return bool(chain.action) and not (chain.spread or chain.critic or chain.std or chain.norms or chain.normalizer)


def _check_actor(chain: LinearChain, saved: Saved) -> None:
    """Check that the file has several outputs, or names, members or a max_action that say that it is an actor.

    Raises:
        LilliputError: one output, which is what a critic has as well.
    """
    told = (saved.name, *saved.members, *saved.values)
    last = saved.arrays[f"{chain.linear[-1]}.weight"]
    if last.shape[:1] == (1,) and not any(re.search(r"(?i)actor|policy|\bpi\b|max_action", one) for one in told):
        raise LilliputError(
            f"{saved.name} has one output, and nothing in it says whether it is an actor's or a critic's; give "
            f"--action {chain.action} if it is {chain.what}"
        )


def _norm(chain: LinearChain, index: int, state: network.State, name: str) -> list[Layer]:
    if not chain.norms:
        return []
    gain, shift = (network.array(state, f"{chain.norms[index]}.{key}", name) for key in chain.norm_keys)
    if chain.norm_keys == ("weight", "bias"):
        return [layers.LayerNorm(gain, shift)]
    # (x - mean) / (std + 1e-6) with the standard deviation of a sample: the same but for a part in a million.
    ratio = np.sqrt(gain.size / max(gain.size - 1, 1))
    return [layers.LayerNorm((gain / ratio).astype(np.float32), shift, epsilon=float((1e-6 / ratio) ** 2))]


def _standardize(normalizer: tuple[str, str, float], saved: Saved) -> Layer:
    mean, var, clip = normalizer
    statistics = RunningStatistics(*(network.double(saved.arrays, key, saved.name) for key in (mean, var)))
    space = spaces.Box(statistics.mean.shape, np.asarray(-np.inf), np.asarray(np.inf))
    layer = standardize(Normalizer(statistics, clip_obs=clip), space, saved.name)
    assert layer is not None
    return layer


CHAINS: Final = (
    LinearChain(
        "sfujim's TD3",
        "TD3 or DDPG",
        ("l1", "l2", "l3"),
        "relu",
        "tanh",
        ((256, 256), (400, 300)),
        others="the inputs are taken as the observation alone: BCQ's actor, whose file has the same names, takes the "
        "action too, and TD3+BC normalizes the observation by its data set",
    ),
    LinearChain(
        "pytorch-soft-actor-critic",
        "SAC",
        ("linear1", "linear2", "mean_linear"),
        "relu",
        "tanh",
        units=((256, 256),),
        spread=("log_std_linear",),
    ),
    LinearChain(
        "alirezakazemipour's SAC",
        "SAC",
        ("hidden1", "hidden2", "mu"),
        "relu",
        "tanh",
        ((256, 256),),
        spread=("log_std",),
    ),
    LinearChain(
        "alirezakazemipour's Continuous-PPO",
        "PPO",
        ("fc1", "fc2", "mu"),
        "tanh",
        "continuous",
        std="log_std",
        normalizer=("state_rms_mean", "state_rms_var", 5.0),
    ),
    LinearChain(
        "Phil Tabor's SAC",
        "SAC",
        ("fc1", "fc2", "mu"),
        "relu",
        "tanh",
        ((256, 256),),
        spread=("sigma",),
        others="the tanh is taken to be moved to the bounds, as its max_action, in no file, does where these are "
        "symmetric",
    ),
    LinearChain(
        "the actor-critic of torch's examples",
        "REINFORCE",
        ("affine1", "action_head"),
        "relu",
        "discrete",
        ((128,),),
        critic=("value_head",),
    ),
    LinearChain(
        "DDPG with layer norms bn1 and bn2",
        "DDPG",
        ("fc1", "fc2", "mu"),
        "relu",
        "tanh",
        ((400, 300),),
        norms=("bn1", "bn2"),
    ),
    LinearChain(
        "evolutionary reinforcement learning (ERL)",
        "DDPG",
        ("w_l1", "w_l2", "w_out"),
        "tanh",
        "tanh",
        norms=("lnorm1", "lnorm2"),
        norm_keys=("gamma", "beta"),
    ),
    LinearChain("an actor or Q-network of fc1, fc2, fc3", "", ("fc1", "fc2", "fc3"), None, None),
)


def _layout(chain: LinearChain) -> Layout:
    norms = (rf"{re.escape(key)}\.(?:{'|'.join(chain.norm_keys)})" for key in chain.norms)
    single = [key for key in (chain.std, *(chain.normalizer or ())[:2]) if key]
    return Layout(
        chain.what,
        (*linear(*chain.linear, *chain.spread, *chain.critic), *norms, *map(re.escape, single)),
        partial(_read, chain),
    )


LAYOUTS: Final = tuple(_layout(chain) for chain in CHAINS)
