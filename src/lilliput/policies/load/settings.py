"""What a file says beside its weights: checked against the policy that was read, or said to be unread, or refused."""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import layers, spaces
from lilliput.policies.load.harmless_settings import is_harmless, is_learners, is_off, is_size
from lilliput.policies.load.inert_pickle import Global, InertCall, Persistent
from lilliput.policies.load.layout import WAY_OUT
from lilliput.policies.load.run_settings import run_settings
from lilliput.policies.load.saved import Saved, class_of, leaves
from lilliput.policies.load.source import Source
from lilliput.policies.load.torch_activation import BY_OPTION
from lilliput.policies.load.torch_file import Module
from lilliput.policies.policy import Policy

MOST = 20
"""Settings that are said one by one."""

_METHODS = ("forward", "_call_impl", "_wrapped_call_impl", "__call__", "_conv_forward")
"""Of torch's modules: what is set on one in their place is what it computes."""
_CODE = ("functools", "operator", "types", "cloudpickle", "dill")
"""Where the makers of functions are."""
_TORCH_DATA = re.compile(r"(?:b?float|u?int|complex)\d+|bool|double|half|long|short|strided|contiguous_format")
_STATISTICS = re.compile(r"(?i)obs|state|norm|rms|mean|std|var")
_LIMIT = re.compile(r"(?i)max_action|act(ion)?_limit|action_(scale|bound|high|max)|max_torque")
_TELLING = re.compile(
    r"(?i)(?:^|_)(?:act|acts|act_?fn|act_?func\w*|afn|nl|bn|ln|gn|rms|lag|layernorm|batchnorm|"
    r"(?:hidden|inner)act)(?:_|$)|activ|nonlin|non_lin|norm|squash|squish|tanh|scal|clip|clamp|stack|histor|delay|resid|"
    r"skip|shortcut|(?:^|[._])(?:gain|offset|shift|temperature)s?(?:_|$)|default_joint|default_dof|"
    r"(?:action|act|obs|state|ob|input|output)s?_?(?:mean|std|var|bias|offset|shift|filter|limit|bound|range|low|high)"
)
"""In the name of a setting that may change what the network computes."""
_LEARNING = re.compile(
    r"(?i)(?:^|[._])adv(?:antages?)?(?:_|$)|rew|(?:^|_)ret(?:urn)?s?(?:_|$)|grad|loss|value|(?:^|_)(?:vf|v|q|qf|lr)(?:_|$)|critic|polyak|"
    r"target_?(?:nets?|networks?|models?|updates?|entropy|kl|tau|noise|policy|smooth|q|critic|actor|freq|period|interval|"
    r"sync)|(?:updat|sync|soft|hard|copy)\w*_target|optim|coef|"
    r"clip_(?:param|range|ratio|eps)|noise|weight_decay|rms_?prop|(?:^|_)kl(?:_|$)|entropy|discriminator|schedul|learning_?(?:rate|start|step|iter|epoch|freq|off)"
)
"""In the name of a setting of what learns."""
_DISTRIBUTION: Final = re.compile(r"(?i)(?:n|num|number_of)?_?(?:atoms?|quantiles?)(?:_size)?")
"""How many numbers a program gives the value of each choice."""
_SWITCH: Final = re.compile(
    r"(?i)^(?!.*(?:max|min|clip|coef|weight)).*(?:squash|squish|tanh|norm|rms|(?:^|_)(?:bn|ln|gn)(?:_|$)|resid|"
    r"shortcut|skip_conn)"
)
"""In the name of something that is on or off, also where that is spelled 1 or 0."""
_ACTIVATION = re.compile(
    r"(?i)(?:^|_)(?:act|act_?fn|act_?func\w*|afn|nl)(?:_|$)|(?:hidden|inner)act$|activ|nonlin|non_lin"
)
_SIZES = re.compile(r"(?i)hidden|arch|dims?|sizes?|shapes?|units|layers|neurons|betas|seeds?")
_LAST = re.compile(r"(?i)out|final|last|(?:^|_)(?:mu|mean)(?:_|$)|squash")
_SCALES: Final = re.compile(
    r"(?i)(?:obs|ob|state|input|out|output|final|logits?|mean|mu)\w*scal|scal\w*(?:obs|state|input|output)"
)
_MOVED: Final = re.compile(r"(?i)act(?:ion)?s?_?(?:mean|std|var|bias|offset|shift)s?")
_NAMES: Final[Mapping[str, str]] = {"swish": "silu", "lrelu": "leaky_relu", "leakyrelu": "leaky_relu"}
_NOTHING = ("", "none", "identity", "linear", "null", "false")


def with_settings(saved: Saved, policy: Policy, source: Source) -> Policy:
    """The policy, with a word on every setting beside its weights that may count and that nothing read.

    Raises:
        LilliputError: one of them contradicts the policy, or would be lost.
    """
    own = {} if saved.module is None else _attributes(saved.module, "", saved.name)
    values = {**saved.values, **own, **run_settings(policy, source)}
    unread = [
        f"beside the weights stands {path[:60]} = {value!r:.60}, which is not read"
        for path, value in values.items()
        if not _Setting(path, value, saved, policy, source).is_settled() or (path in own and not _is_idle(path, value))
    ]
    if len(unread) > MOST:
        unread = [*unread[:MOST], f"{len(unread) - MOST} more such settings stand beside the weights"]
    guesses = (*policy.provenance.guesses, *unread)
    return dataclasses.replace(policy, provenance=dataclasses.replace(policy.provenance, guesses=guesses))


def _attributes(module: Module, prefix: str, name: str) -> dict[str, Any]:
    """What was set on the module and on those inside that hold others, by path; what one layer computes is apart.

    Raises:
        LilliputError: an array or a function, whose part in the decision would be lost.
    """
    found: dict[str, Any] = {}
    for key in module.attributes.keys() & {*_METHODS, *module.children, *module.arrays}:
        raise _own_code(module, f"{prefix}{key}", name)
    for (key, *inner), value in leaves(dict(module.attributes), name):
        path = ".".join((f"{prefix}{key}", *inner))
        if not inner and key == "act_limit" and not isinstance(value, InertCall):
            continue  # its reader's
        if _is_code(key, value):
            raise _own_code(module, path, name)
        is_object = isinstance(value, InertCall | Module)
        if isinstance(value, np.ndarray) or (is_object and (_TELLING.search(path) or _is_tensor(value))):
            raise LilliputError(
                f"{name}: the module {module.kind[:60]} holds {path[:60]!r}, which would be lost; {WAY_OUT}"
            )
        if module.children:
            named = isinstance(value, Global)
            found[path] = f"{value.module}.{value.name}" if named else class_of(value) if is_object else value
    for key, child in module.children.items():
        if isinstance(child, Module):
            found |= _attributes(child, f"{prefix}{key}.", name)
    return found


def _is_idle(path: str, value: Any) -> bool:
    """Whether a number on a module is off, or one of sizes: any other may be a factor, whatever its name."""
    return not isinstance(value, int | float | str) or not value or is_size(path)


def _own_code(module: Module, path: str, name: str) -> LilliputError:
    return LilliputError(
        f"{name}: the module {module.kind[:60]} has a {path[:60]!r} of its own instead of its class's, code that is "
        f"not read; {WAY_OUT}"
    )


def _is_tensor(value: Any) -> bool:
    """Whether it is a tensor inside of another object, which is still a record there."""
    return isinstance(value, InertCall) and isinstance(value.maker, Global) and value.maker.module == "torch._utils"


def _is_code(key: str, value: Any) -> bool:
    """Whether what was set on a module is a function, or something that makes one."""
    match value:
        case Global(module="torch", name=kind):
            return not _TORCH_DATA.fullmatch(kind) and not _ACTIVATION.search(key)
        case Global(module=module):
            return not module.startswith(("torch.nn.", "numpy")) and not _ACTIVATION.search(key)
        case InertCall(maker=Global(module=module, name=kind)):
            return module.partition(".")[0] in _CODE or (module, kind) == ("builtins", "getattr")
        case InertCall() | Persistent():
            return True
        case _:
            return False


@final
@dataclass(frozen=True, eq=False)
class _Setting:
    """A setting beside the weights of a policy."""

    path: str
    value: Any
    saved: Saved
    policy: Policy
    source: Source

    @property
    def key(self) -> str:
        """The last part of its name, its words apart."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", self.path.rpartition(".")[2])

    @property
    def used(self) -> set[type]:
        """The kinds of layer that the policy has."""
        return {type(layer) for layer in self.policy.layers}

    def contradicted(self, why: str) -> LilliputError:
        """That the file says otherwise than the policy is, and why that matters."""
        return LilliputError(f"{self.saved.name} says that {self.path[:60]} is {_shown(self.value)}{why}")

    def is_settled(self) -> bool:
        """Whether it agrees with the policy or has no part in it; False where nothing tells.

        Raises:
            LilliputError: it contradicts the policy.
        """
        settled = self._by_numbers()
        return self._by_name() if settled is None else settled

    def _by_numbers(self) -> bool | None:
        """What its numbers tell beside the sizes of the policy, or the name alone; None: the two together may tell."""
        name, path, value, key = self.saved.name, self.path, self.value, self.key
        names = path.replace("state_dict", "")
        n_inputs = spaces.input_shape(self.policy.observation_space)[-1]
        actions = self.policy.action_space
        n_actions = actions.size if isinstance(actions, spaces.Box) else 0
        limit = np.abs([actions.low, actions.high]).max() if isinstance(actions, spaces.Box) else None
        match value:
            case int() if value > 1 and layers.ArgmaxAction in self.used and _DISTRIBUTION.fullmatch(key):
                n = _choices(self.policy)
                if not self.source.options.check_choices(n, name):
                    doubt = f"{path[:60]} is {value}: its {n} outputs may be a distribution of each choice's value"
                    self.source.options.only_layers(name, doubt)
                return True
            case [*numbers] if (
                len(numbers) == n_inputs > 1 and _STATISTICS.search(names) and not _LEARNING.search(names)
            ):
                raise LilliputError(
                    f"{name} holds {path[:60]!r}, {n_inputs} numbers of the observation that would be lost; {WAY_OUT}"
                )
            case [*numbers] if len(numbers) == n_actions and _MOVED.fullmatch(key):
                raise LilliputError(
                    f"{name} holds {path[:60]!r}, {n_actions} numbers of the action that would be lost; {WAY_OUT}"
                )
            case [*numbers] if len(numbers) in {n_inputs, n_actions} - {0, 1} and not _SIZES.search(names):
                return bool(_LEARNING.search(names)) or not all(isinstance(one, int | float) for one in numbers)
            case int() | float() if not isinstance(value, bool) and limit is not None and _LIMIT.fullmatch(key):
                if np.isclose(limit, value):
                    return True
                raise self.contradicted(
                    f"; the bounds of the action are {spaces.describe(actions)}: give --action-low {-value:g} and "
                    f"--action-high {value:g}"
                )
            case str() if re.sub(r"^.*\.|\(.*", "", value).lower() in BY_OPTION and not _LEARNING.search(path):
                return None  # whatever its name is
            case _ if _LEARNING.search(path):
                return not (_LEARNING.search(key) and _TELLING.search(key)) or is_learners(key, value)
            case _ if not _TELLING.search(path):
                return not isinstance(value, str | int | float | list | tuple) or is_harmless(path, value)
            case _:
                return None

    def _by_name(self) -> bool:
        """What its name says that its value is for."""
        value, key = self.value, self.key
        if type(value) is int and value in (0, 1) and _SWITCH.search(key):  # as command lines spell it
            return dataclasses.replace(self, value=bool(value))._by_name()
        match value:
            case None:
                return True
            case str() if _ACTIVATION.search(key):
                n_layers = sum(isinstance(layer, layers.Dense) for layer in self.policy.layers)
                return (n_layers < 2 and not _LAST.search(key)) or self._is_activation(value)
            case bool():
                return self._is_switch(value)
            case int() | float() if re.search(r"(?i)stack|histor", key) and value > 1:
                if not self.policy.provenance.wrappers and self.source.options.wrappers is False:
                    raise self.contradicted(
                        "; name what the environment does with --wrapper, such as --wrapper 'frame_stack(4)'"
                    )
                return True
            case int() | float() if re.search(r"(?i)(?:^|_)(?:dims?|sizes?|shape|num|n|len\w*)(?:_|$)", key):
                return True
            case int() | float() if _SCALES.search(key) and value not in (0, 1):
                raise self.contradicted(f", a scaling that would be lost; {WAY_OUT}")
            case int() | float():
                return is_off(key, value)
            case str():
                return value.lower() in _NOTHING
            case [] | ():
                return True
            case _:
                return False

    def _is_activation(self, value: str) -> bool:
        """Whether an activation is where the policy has it."""
        used, text = self.used, re.sub(r"^.*\.|\(.*", "", value).lower()
        text = _NAMES.get(text, text)
        if _LAST.search(self.key):
            fits = text in _NOTHING or (text == "tanh" and layers.SquashAction in used)
            if not fits and not (text == "softmax" and layers.ArgmaxAction in used):
                way = f"give --action tanh, or {WAY_OUT}" if text == "tanh" else WAY_OUT
                raise self.contradicted(
                    f", which stands behind the last layer and which the policy would not have; {way}"
                )
            return True
        hidden = {type(layer) for ways in BY_OPTION.values() for layer in ways}
        named = BY_OPTION.get("none" if text in _NOTHING else text)
        if named is None or not {type(layer) for layer in named} <= used or (not named and used & hidden):
            raise self.contradicted(", which the policy would not have; give --activation")
        return True

    def _is_switch(self, value: bool) -> bool:
        """Whether something that is on or off is so in the policy, or was said to be."""
        key, used = self.key, self.used
        batch = any(name.endswith(("running_mean", "ra_mean")) for name in self.saved.arrays)
        normalized = batch or self.source.options.normalizer
        if re.search(r"(?i)squash|squish|tanh", key):
            if value != (layers.SquashAction in used) and not (not value and re.search(r"(?i)ortho|init", key)):
                raise self.contradicted(
                    f"; the policy would {'not ' if value else ''}squash its actions: give --action"
                )
            return True
        if not value:
            return True
        if re.search(r"(?i)layer_?norm|batch_?norm|group_?norm|(?:^|_)(?:bn|ln|gn)(?:_|$)", key):
            if layers.LayerNorm in used or (normalized and re.search(r"(?i)batch|bn", key)):
                return True
            raise self.contradicted(f", which the network would not have; {WAY_OUT}")
        if re.search(r"(?i)norm(?!al(?:_|$))|rms", key):
            if layers.Standardize not in used and not normalized:
                raise self.contradicted(
                    " and holds no statistics of the observation; give them as --normalizer FILE, or --no-normalizer"
                )
            return True
        if re.search(r"(?i)resid|skip|shortcut", key):
            raise self.contradicted(f", connections that the policy would not have; {WAY_OUT}")
        return False


def _choices(policy: Policy) -> int:
    """How many numbers its choices are made of."""
    return sum(sum(layer.sizes) for layer in policy.layers if isinstance(layer, layers.ArgmaxAction))


def _shown(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case _:
            return f"{value!r:.40}"
