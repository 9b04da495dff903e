"""What a policy of a study is called in a report."""

from collections import Counter
from collections.abc import Iterable

from lilliput.report.row import Row
from lilliput.report.vocabulary import brief_text, name_of
from lilliput.task import MODEL_SCORES


def algorithm(row: Row) -> str:
    """The algorithm that trained the policy, as its source says."""
    return dict(row.names).get("algorithm") or "unknown"


def label(row: Row) -> str:
    """The policy and where it plays, in words; a model has a name, and what it is asked."""
    return f"{_who(row)} {brief_text(row.task)}"


def labels(rows: Iterable[Row]) -> dict[tuple[str, str], str]:
    """A label for each policy and environment; where two would read alike, with all that is asked, or the digest."""
    named: dict[tuple[str, str], Row] = {}
    for row in rows:
        if row.names or (row.policy, row.environment) not in named:
            named[row.policy, row.environment] = row
    found = {key: label(row) for key, row in named.items()}
    taken = Counter(found.values())
    found = {key: text if taken[text] == 1 else f"{_who(named[key])} {key[1]}" for key, text in found.items()}
    taken = Counter(found.values())
    return {key: text if taken[text] == 1 else f"{text} ({key[0][:6]})" for key, text in found.items()}


def _who(row: Row) -> str:
    names = dict(row.names)
    source = names.get("source") or row.policy[:8]
    return name_of(source) if row.task.score in MODEL_SCORES else names.get("algorithm") or source
