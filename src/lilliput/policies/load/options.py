"""What the user says of a checkpoint where its file is silent: output, activation, kind and bounds of the action."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, final

import numpy as np

from lilliput.errors import LilliputError
from lilliput.policies import spaces
from lilliput.policies.layers import Layer
from lilliput.policies.load import network, torch_activation
from lilliput.policies.play import action_space_of, make_environment

ACTIONS: Final[Mapping[str, str]] = {
    "discrete": "the index of the largest output",
    "continuous": "the outputs as they are, clipped to the bounds of the action",
    "tanh": "tanh of the outputs, moved to the bounds of the action",
}
"""What --action takes: how a network's outputs become the action."""

BETA: Final = "beta"
"""What --action takes besides, of rsl_rl's files alone."""

PLAIN: Final = (
    "each layer takes what the one before gives, behind nothing but the activation, each norm is torch's LayerNorm and "
    "each output an action's"
)
"""What --plain says of a file's layers."""

Bound = float | Sequence[float]


@final
@dataclass
class Options:
    """The options, and which of them a reader has taken: one that nobody asked for is an error, not a decoration.

    Attributes:
        output: which output of an ONNX file is the action.
        activation: of the hidden layers, a key of `torch_activation.BY_OPTION`; action: a key of ACTIONS.
        low, high: the bounds of the action, one number or one each.
        environment: the id of an environment whose bounds the action has, where the file has none.
        normalizer: whether the observation's statistics were given, or said to be none.
        wrappers: whether it was said what the environment does on the way.
        plain: whether it was said that the layers in the file are all that there is.
        rescaled: whether bounds that are given are the environment's, and not those of the source's actions.

    Raises:
        LilliputError: a name or bound that cannot be.
    """

    output: str | None = None
    activation: str | None = None
    action: str | None = None
    low: Bound | None = None
    high: Bound | None = None
    environment: str | None = None
    environment_kwargs: Mapping[str, Any] = field(default_factory=dict)
    normalizer: bool = False
    wrappers: bool = False
    plain: bool = False
    rescaled: bool = False
    taken: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for name, value, known in (
            ("activation", self.activation, torch_activation.BY_OPTION),
            ("action", self.action, (*ACTIONS, BETA)),
        ):
            if value is not None and value not in known:
                raise LilliputError(f"{name} is {value!r}; it must be {' or '.join(known)}")
        if (self.low is None) != (self.high is None):
            raise LilliputError("one bound of the action is given; give both, action_low and action_high")

    def take(self, name: Literal["output", "activation", "action"]) -> str | None:
        """An option, or None where it was not given; it is taken then.

        Raises:
            LilliputError: the action is a Beta distribution's: only who asks for that can read one.
        """
        if name == "action" and self.action == BETA:
            raise LilliputError(
                "--action beta is of rsl_rl 4's checkpoints without distribution.*, and this is none: give another "
                f"--action, {'|'.join(ACTIONS)}"
            )
        self.taken.add(name)
        return getattr(self, name)

    def take_beta(self) -> bool:
        """Whether the outputs were said to be a Beta distribution's."""
        self.taken.add("action")
        return self.action == BETA

    def activation_layers(self, name: str, known: str = "") -> tuple[Layer, ...]:
        """The hidden activation that was given.

        Args:
            name: the file, for errors.
            known: what the format's own programs use by default, for the error: it is not taken in silence.

        Raises:
            LilliputError: none was given.
        """
        return self._asked(name, known, "activation")[0]

    def hidden_and_action(self, name: str, known: str = "", doubt: str = "") -> tuple[tuple[Layer, ...], str]:
        """The hidden activation, and how the outputs become an action: a key of ACTIONS; as given.

        `doubt` says why the layers may not be all that there is; then `plain` is asked for as well.

        Raises:
            LilliputError: one of them was not given.
        """
        return self._asked(name, known, "activation", "action", doubt=doubt)

    def kind_of_action(self, name: str, doubt: str = "") -> str:
        """How the outputs become an action, a key of ACTIONS, as given; `doubt` as above.

        Raises:
            LilliputError: it was not given.
        """
        return self._asked(name, "", "action", doubt=doubt)[1]

    def only_layers(self, name: str, doubt: str) -> None:
        """Ask whether the layers in the file are all that there is; `doubt` says why they may not be.

        Raises:
            LilliputError: it was not said.
        """
        self._asked(name, "", doubt=doubt)

    def _asked(
        self, name: str, known: str, *wanted: Literal["activation", "action"], doubt: str = ""
    ) -> tuple[tuple[Layer, ...], str]:
        given: dict[str, str | None] = {one: self.take(one) for one in wanted}
        if doubt:
            self.taken.add("plain")
            given["plain"] = "yes" if self.plain else None
        missing = [one for one, value in given.items() if value is None]
        what = {
            "activation": f"which activation stands between its layers{f' ({known})' if known else ''}",
            "action": f"how its outputs become an action ({'; '.join(f'{key}: {ACTIONS[key]}' for key in ACTIONS)})",
            "plain": f"whether its layers are all that there is: {doubt}",
        }
        ways = {
            "activation": f"--activation {'|'.join(torch_activation.BY_OPTION)}",
            "action": f"--action {'|'.join(ACTIONS)}",
            "plain": f"--plain if {PLAIN}, else export it as ONNX",
        }
        if missing:
            raise LilliputError(
                f"{name} does not say {' and '.join(what[one] for one in missing)}; give "
                f"{' and '.join(ways[one] for one in missing)}"
            )
        return torch_activation.BY_OPTION[given.get("activation") or "none"], given.get("action") or ""

    def action_space(self, n_actions: int, name: str, trained_on: str = "", lacks: str = "") -> tuple[spaces.Box, str]:
        """The bounds of the action, given or the environment's, and a sentence that says where they come from.

        Args:
            n_actions: how many numbers an action has.
            name: the file, for errors.
            trained_on: the environment that the file or its folder names; it counts where nothing is given.
            lacks: why bounds are asked for, where the file has its own.

        Raises:
            LilliputError: there are none, or they do not fit `n_actions` numbers.
        """
        lacks = lacks or f"does not hold the bounds of its {n_actions} actions"
        if (space := self.given_space(n_actions, name)) is not None:
            return space, "the bounds of the action are not in the file: as given"
        if environment := self.environment or trained_on:
            space = self._space_of(environment, name, lacks)
            if space.size != n_actions:
                raise LilliputError(
                    f"{name} gives {n_actions} actions; {environment} takes {spaces.describe(space)}: name the "
                    "environment it was trained on"
                )
            return (
                spaces.Box((n_actions,), space.low.reshape(-1), space.high.reshape(-1)),
                f"the bounds of the action are not in the file: those of {environment}",
            )
        raise LilliputError(
            f"{name} {lacks}; name the environment with --env, or give "
            "--action-low and --action-high (-inf and inf: it has none)"
        )

    def check_choices(self, n: int, name: str) -> bool:
        """Whether an environment was named, runs here and takes a choice of `n`.

        Raises:
            LilliputError: it takes something else.
        """
        if self.environment is None:
            return False
        try:
            made = make_environment(self.environment, environment_kwargs=self.environment_kwargs)
        except LilliputError:
            return False
        try:
            space = action_space_of(made)
        finally:
            made.close()
        if space != spaces.Discrete(n):
            raise LilliputError(
                f"{name} is read as a choice of {n}; {self.environment} takes {spaces.describe(space)}: name the "
                "environment it was trained on, or give --action continuous or tanh where its outputs are the action"
            )
        return True

    def observation_shape(self) -> tuple[int, ...] | None:
        """Of the environment that was named, without wrappers; None where none was, or it does not run here."""
        if self.environment is None:
            return None
        try:
            made = make_environment(self.environment, environment_kwargs=self.environment_kwargs)
        except LilliputError:
            return None
        try:
            return made.observation_space.shape
        finally:
            made.close()

    def given_space(self, n_actions: int, name: str) -> spaces.Box | None:
        """The bounds of the action that were given as numbers; None where none were.

        Raises:
            LilliputError: they do not fit `n_actions` numbers.
        """
        self.taken |= {"action_low", "action_high"}
        if self.low is None or self.high is None:
            return None
        low, high = (self._bound(bound, n_actions, name) for bound in (self.low, self.high))
        if not (low < high).all():
            raise LilliputError(f"{name}: action_low is not below action_high")
        return spaces.Box((n_actions,), low, high)

    def unused(self) -> list[str]:
        """The options that were given and that no reader asked for."""
        given = {
            "output": self.output,
            "activation": self.activation,
            "action": self.action,
            "action_low": self.low,
            "action_high": self.high,
            "plain": self.plain or None,
        }
        return [name for name, value in given.items() if value is not None and name not in self.taken]

    def _bound(self, bound: Bound, n_actions: int, name: str) -> np.ndarray:
        try:
            array = np.asarray(bound, np.float64).reshape(-1)
        except (TypeError, ValueError):
            raise LilliputError(
                f"{name}: a bound of the action is {bound!r}; give one number or one an action"
            ) from None
        if array.size not in (1, n_actions) or np.isnan(array).any():
            raise LilliputError(
                f"{name}: a bound of the action has {array.size} numbers; the policy has {n_actions} actions"
            )
        return np.broadcast_to(array, (n_actions,))

    def _space_of(self, environment: str, name: str, lacks: str) -> spaces.Box:

        try:
            made = make_environment(environment, environment_kwargs=self.environment_kwargs)
        except LilliputError as error:
            raise LilliputError(f"{name} {lacks}, and {error}; or give --action-low and --action-high") from error
        try:
            space = action_space_of(made)
        finally:
            made.close()
        if not isinstance(space, spaces.Box):
            raise LilliputError(
                f"{name} gives real actions; {environment} takes {spaces.describe(space)}: name the environment it was "
                "trained on"
            )
        return space


def action_head(kind: str, space: spaces.Box, name: str) -> tuple[Layer, ...]:
    """The layers from a network's outputs to real actions: `kind` is "continuous" or "tanh" of ACTIONS."""
    return tuple(network.squash_head(space, name) if kind == "tanh" else network.clip_head(space))
