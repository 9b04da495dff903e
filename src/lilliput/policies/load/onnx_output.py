"""Which output of an ONNX file is the action, and whether it is a number a choice: by names, or not at all."""

import re
from collections.abc import Sequence
from typing import Any

from lilliput.errors import LilliputError
from lilliput.policies.load.source import Source

PLAIN = (
    "deterministic_continuous_actions",
    "deterministic_discrete_actions",
    "deterministic_actions",
    "deterministic_action",
    "action",
    "actions",
    "continuous_actions",
    "discrete_actions",
    "mean",
    "mu",
    "logits",
    "q_values",
)
"""Names of the action, the best first."""

_OTHER = {
    "value", "values", "v", "vf", "critic", "baseline", "std", "stddev", "sigma", "logstd", "logvar", "var", "variance",
    "logprob", "logprobs", "logp", "entropy", "hidden", "cell", "memory", "state", "states", "hn", "cn", "hout", "cout",
    "recurrent",
}  # fmt: skip
_MEMORIES = {
    "hidden", "cell", "memory", "state", "states", "h", "c", "hn", "cn", "hx", "cx", "hout", "cout", "recurrent", "rnn",
    "lstm", "gru",
}  # fmt: skip
_SPREADS = {"std", "stddev", "sigma", "logstd", "logvar", "var", "variance"}
_CHOICES = ({"logits"}, {"logit"}, {"q", "values"}, {"q", "value"}, {"qvalues"}, {"qvalue"}, {"qs"})


def words_of(name: str) -> list[str]:
    """The words of a name, numbers apart.

    >>> words_of("actionMean:0"), words_of("q_values_1"), words_of("log_std")
    (['action', 'mean'], ['q', 'values'], ['log', 'std'])
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return [word for word in re.split(r"[^a-z]+", spaced.lower()) if word]


def is_scores(name: str) -> bool:
    """Whether the name is one of logits or Q-values.

    >>> is_scores("q_values"), is_scores("action_logits"), is_scores("value"), is_scores("equality")
    (True, True, False, False)
    """
    words = set(words_of(name))
    return any(choice <= words for choice in _CHOICES)


def is_continuous(name: str) -> bool:
    """Whether the name says that the output is a real action.

    >>> is_continuous("continuous_actions"), is_continuous("action_mean"), is_continuous("actions")
    (True, True, False)
    """
    return bool(set(words_of(name)) & {"continuous", "mean", "means", "mu"})


def _is_other(name: str) -> bool:
    """Whether the name says that it is not the action: a value, a spread, a memory."""
    words = words_of(name)
    joined = "".join(words)
    return not is_scores(name) and (bool(set(words) & _OTHER) or joined in _OTHER or joined.startswith("logprob"))


def choose(names: Sequence[str], wanted: str | None, name: str) -> tuple[str, str]:
    """The action's output, and what was guessed ("" where nothing was).

    Args:
        names: of the outputs that depend on the observation.
        wanted: what the user named.
        name: of the file, for errors.

    Raises:
        LilliputError: no such output, or names that do not tell.
    """
    shown = ", ".join(repr(one[:40]) for one in names[:12]) or "none"
    if wanted is not None:
        if wanted not in names:
            raise LilliputError(f"{name} has no output {wanted!r}; it has {shown}")
        return wanted, ""
    left = [one for one in names if not _is_other(one)]
    kinds = {*words_of(" ".join(one for one in left if {"action", "actions"} & {*words_of(one)}))}
    if {"continuous", "discrete"} <= kinds:
        raise LilliputError(
            f"{name} gives real actions and choices at once ({shown}), and a policy here has one kind: one of them "
            "alone by its name (output=, --output NAME)"
        )
    if len(names) == 1 and left:
        return names[0], ""
    by_name: dict[str, list[str]] = {}
    for one in left:
        by_name.setdefault("_".join(words_of(one)), []).append(one)
    found = next((by_name[one] for one in PLAIN if one in by_name), [])
    # A "squashed_action" beside a "mean" is what the mean becomes.
    called = any({"action", "actions"} & {*words_of(one)} for one in left if one not in found)
    if len(found) == 1 and not (called and not {"action", "actions"} & {*words_of(found[0])}):
        (plain,) = found
        return plain, f"the file has several outputs ({shown}): the action is {plain[:40]!r}"
    if len(left) == 1 and len(names) > 1 and words_of(left[0]):
        return left[0], f"the file has several outputs ({shown}): by the others' names the action is {left[0][:40]!r}"
    raise LilliputError(
        f"{name} has the output{'s' if len(names) > 1 else ''} {shown}: which is the action cannot be told; name it "
        "(output=, --output NAME)"
    )


_LINEAR = ("Gemm", "MatMul", "Conv", "MatMulInteger", "ConvInteger", "LSTM", "GRU", "RNN", "QLinearMatMul", "QGemm")


def action_output(model: Any, source: Source) -> tuple[str, str]:
    """The output of the model that is the action, and what was guessed ("" where nothing was).

    Raises:
        LilliputError: it cannot be told.
    """
    names = [value.name for value in model.graph.output]
    wanted = source.output
    if len(names) > 1:
        # What no linear layer leads to is a constant, or an input passed through.
        varying = [one for one in names if any(node.op_type in _LINEAR for node in _leading_to(model.graph, one))]
        if wanted is None or wanted in varying:
            names = varying or names
    try:
        found = choose(names, wanted, source.name)
        after = "" if wanted is not None else _made_of(model.graph, found[0], names)
        if after:
            raise LilliputError(
                f"{source.name} has the outputs {found[0][:40]!r} and {after[:40]!r}, which is computed from it: which "
                "is the action cannot be told; name it (output=, --output NAME)"
            )
        return found
    except LilliputError:
        if wanted is None and _is_stable_baselines3(model.graph, names):
            return names[0], (
                "the file's outputs have no names that tell: taken as Stable-Baselines3's documented export, which "
                "gives actions, values and log-probabilities"
            )
        raise


def _made_of(graph: Any, mean: str, names: Sequence[str]) -> str:
    """Another output that is computed from this mean, as its tanh; "" where there is none, or its name says action."""
    words = set(words_of(mean))
    core = next(
        (node for node in _leading_to(graph, mean) if node.op_type not in ("Identity", "Reshape", "Cast")), None
    )
    if core is None or not is_continuous(mean) or words & {"action", "actions"}:
        return ""
    others = [one for one in names if one != mean and not _is_other(one)]
    return next((one for one in others if any(node is core for node in _leading_to(graph, one))), "")


def _is_stable_baselines3(graph: Any, names: Sequence[str]) -> bool:
    """Whether there are an action, one number of a layer that is no part of it, and what is computed of the action."""
    if len(names) != 3:
        return False
    action, value, log_prob = (_leading_to(graph, one) for one in names)
    made = {key for node in log_prob for key in node.output}
    # Only the shape is the action's own.
    shaping = ("Reshape", "Identity", "Cast", "Squeeze", "Constant")
    core = next((node for node in action if node.op_type not in shaping), None)
    drawn = core is not None and bool(made & set(core.output))
    sizes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    last = next((node for node in value if names[1] in node.output), None)
    weights = (
        [] if last is None or last.op_type not in ("Gemm", "MatMul") else [sizes.get(key, ()) for key in last.input]
    )
    is_value = any(len(shape) == 2 and 1 in shape for shape in weights) and last not in action
    return drawn and is_value


def doubts_of_memory(model: Any, output: str, inputs: Sequence[str], name: str) -> list[str]:
    """A sentence on an output that may go back in as an input, though nothing names it as a memory; or none.

    Args:
        model: the file.
        output: the action's.
        inputs: that reach the action.
        name: of the file, for errors.

    Raises:
        LilliputError: one is named as a memory.
    """
    taken = {value.name: _behind(value) for value in model.graph.input if value.name in inputs}
    doubts: list[str] = []
    for value in model.graph.output if len(taken) > 1 else ():
        reached = {key for node in _leading_to(model.graph, value.name) for key in node.input} & taken.keys()
        if value.name == output or not reached:
            continue
        words = words_of(value.name)
        if _MEMORIES & {*words, "".join(words)}:
            raise LilliputError(
                f"{name} has the output {value.name[:40]!r} beside several inputs ({', '.join(taken)[:80]}), which by "
                "its name is a memory that goes back in, but of no LSTM or GRU: those alone are read; give the "
                "checkpoint that it was exported from or a TorchScript file, or export the action alone if nothing "
                "goes back in"
            )
        shape = _behind(value)
        twin = next((key for key in reversed(taken) if not shape or taken[key] == shape), None)
        if twin is not None and not _is_other(value.name):
            doubts.append(
                f"the output {value.name[:40]!r} may be what goes back in as {twin[:40]!r}: nothing here carries it "
                "from one decision to the next, as a memory would need"
            )
    return doubts


def doubts_of_spread(model: Any, output: str) -> list[str]:
    """A sentence on a mean beside which the file computes a spread of the observation, as SAC's actors do; or none."""
    others = [value.name for value in model.graph.output if value.name != output]
    beside = [
        one
        for one in others
        if _SPREADS & set(words_of(one)) and any(node.op_type in _LINEAR for node in _leading_to(model.graph, one))
    ]
    if not beside or not is_continuous(output):
        return []
    said = (
        f"{output[:40]!r} is taken as the action, though {beside[0][:40]!r} beside it varies, as in SAC, whose action "
        "is the mean's tanh, moved to the bounds: if so, export that"
    )
    return [said]


def _behind(value: Any) -> tuple[int, ...]:
    """The sizes behind the first axis, where all are said."""
    dims = value.type.tensor_type.shape.dim[1:]
    return tuple(dim.dim_value for dim in dims) if all(dim.dim_value > 0 for dim in dims) else ()


def _leading_to(graph: Any, output: str) -> list[Any]:
    """The nodes that an output depends on."""
    producers = {key: node for node in graph.node for key in node.output if key}
    todo, seen, found = [output], set(), []
    while todo:
        node = producers.get(todo.pop())
        if node is not None and id(node) not in seen:
            seen.add(id(node))
            found.append(node)
            todo += [key for key in node.input if key]
    return found
