"""Which output of an ONNX file is the action, and whether it is a number a choice: by names, or not at all."""

import re
from collections.abc import Sequence

from lilliput.errors import LilliputError

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
_CHOICES = ({"logits"}, {"logit"}, {"q", "values"}, {"q", "value"}, {"qvalues"}, {"qvalue"}, {"qs"})


def _words(name: str) -> list[str]:
    """The words of a name, numbers apart.

    >>> _words("actionMean:0"), _words("q_values_1"), _words("log_std")
    (['action', 'mean'], ['q', 'values'], ['log', 'std'])
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return [word for word in re.split(r"[^a-z]+", spaced.lower()) if word]


def is_scores(name: str) -> bool:
    """Whether the name is one of logits or Q-values.

    >>> is_scores("q_values"), is_scores("action_logits"), is_scores("value"), is_scores("equality")
    (True, True, False, False)
    """
    words = set(_words(name))
    return any(choice <= words for choice in _CHOICES)


def _is_other(name: str) -> bool:
    """Whether the name says that it is not the action: a value, a spread, a memory."""
    words = _words(name)
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
    if len(names) == 1 and left:
        return names[0], ""
    by_name: dict[str, list[str]] = {}
    for one in left:
        by_name.setdefault("_".join(_words(one)), []).append(one)
    found = next((by_name[one] for one in PLAIN if one in by_name), [])
    if len(found) == 1:
        (plain,) = found
        return plain, f"the file has several outputs ({shown}): the action is {plain[:40]!r}"
    if len(left) == 1 and len(names) > 1 and _words(left[0]):
        return left[0], f"the file has several outputs ({shown}): by the others' names the action is {left[0][:40]!r}"
    raise LilliputError(
        f"{name} has the output{'s' if len(names) > 1 else ''} {shown}: which is the action cannot be told; name it "
        "(output=, --output NAME)"
    )
