"""Guidelines, computed from the rows and never written by hand: the best method a policy, and published claims.

The claims are those of Lu et al. 2024 (arXiv 2407.04803). Each is a number a policy, positive where the policy speaks
for it; the mean over the policies with its t-interval decides. Fewer than three policies decide nothing, a policy that
plays several environments counts once, and what it does in a disturbed environment says nothing of a claim.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, final

from lilliput.foreign_text import in_markdown, in_markdown_cell
from lilliput.report.label import algorithm
from lilliput.report.recipe_text import method, steps
from lilliput.report.row import Row, by_policy, undisturbed, verdict_of
from lilliput.report.vocabulary import POLICIES, Words, brief_text, score_of, words_of
from lilliput.statistics import Interval, student_t_quantile
from lilliput.sums import deviation, mean

PAPERS_SHARE = 0.9
"""Of the baseline's average return: the rule of arXiv 2407.04803. It means nothing where that is not above 0."""

MIN_POLICIES = 3
NO_GAIN = 0.05
"""A saving below this share counts as none."""

Answer = Literal["holds", "does not hold", "undecided"]


@final
@dataclass(frozen=True)
class Best:
    """The candidate of the highest compression that kept the return of one policy, by two rules.

    Attributes:
        baseline: its score, as people print it.
        by_paper: by the paper's rule; None: none did. by_verdict: by the verdict at `keep`.
        paper_applies: whether the baseline's return is above 0, without which the paper's rule means nothing.
        n_methods: how many candidates were tried.
    """

    algorithm: str
    environment: str
    baseline: str
    paper_applies: bool
    by_paper: Row | None
    by_verdict: Row | None
    n_methods: int


@final
@dataclass(frozen=True)
class Claim:
    """A published claim and what the rows say: the mean over policies of how far they speak for it."""

    text: str
    measure: str
    answer: Answer
    interval: Interval | None
    n_policies: int
    note: str


@final
@dataclass(frozen=True)
class Guidelines:
    """What the rows advise: the best candidate of each subject, and a paper's claims with their answers, if any."""

    best: tuple[Best, ...]
    claims: tuple[Claim, ...]
    words: Words = POLICIES

    @property
    def of_paper(self) -> bool:
        """Whether the paper's rule and its claims are answered."""
        return bool(self.claims)


def guidelines(rows: Sequence[Row], reproduces: str = "") -> Guidelines:
    """The best of these rows; the paper's rule and claims where the study reproduces it."""
    answered = claims(rows) if reproduces == "lu2024" else ()
    return Guidelines(best(rows), answered, words_of(row.task for row in rows))


def best(rows: Sequence[Row]) -> tuple[Best, ...]:
    """The best candidate of each policy in each environment."""
    found = []
    for group in by_policy(rows).values():
        candidates = [row for row in group if row.recipe and row.smaller is not None]
        baseline = next((row.baseline_mean for row in group if row.baseline_mean is not None), None)
        applies = baseline is not None and baseline > 0
        score = score_of(group[0].task)
        shown = score.text(score.of_mean(baseline))
        paper = [
            row
            for row in candidates
            if applies and row.mean_return is not None and row.mean_return >= PAPERS_SHARE * (row.baseline_mean or 0)
        ]
        kept = [row for row in candidates if verdict_of(row) == "kept"]
        name = next((algorithm(row) for row in group if row.names), "unknown")
        found.append(
            Best(name, brief_text(group[0].task), shown, applies, _smallest(paper), _smallest(kept), len(candidates))
        )
    return tuple(found)


def _smallest(rows: Sequence[Row]) -> Row | None:
    return max(rows, key=lambda row: row.smaller or 0, default=None)


def claims(rows: Sequence[Row]) -> tuple[Claim, ...]:
    """Each claim with its answer."""
    return (
        _claim(
            "Quantization and pruning do not lower memory use.",
            f"{NO_GAIN:.0%} less the share of peak resident memory saved",
            rows,
            lambda group: _no_saving(group, lambda row: row.peak_memory_bytes),
        ),
        _claim(
            "Quantization and pruning do not lower the energy use.",
            f"{NO_GAIN:.0%} less the share of energy a decision saved",
            rows,
            lambda group: _no_saving(group, lambda row: row.energy_j),
        ),
        _claim(
            "Pruning by L2 keeps more than pruning by L1.",
            "retention by L2 less retention by L1, at the same ratio",
            rows,
            lambda group: _paired(group, ("prune_units", "importance", "l2"), ("prune_units", "importance", "l1")),
        ),
        _claim(
            "Pruning 10 % by L2 is safe.",
            f"retention of prune_units(ratio=0.1, importance=l2) less {PAPERS_SHARE:g}",
            rows,
            _ten_percent,
        ),
        _claim(
            "Dynamic quantization keeps more than static.",
            "retention of dynamic less retention of static, at the same bits",
            rows,
            lambda group: _paired(group, ("quantize", "scheme", "dynamic"), ("quantize", "scheme", "static")),
        ),
        _claim(
            "Training with quantization helps SAC.",
            "retention of finetune(weight_bits=8) less retention of quantize(), SAC only; by imitation of the policy "
            "as it was, not by reinforcement learning as in the paper",
            [row for row in rows if "SAC" in algorithm(row)],
            _trained,
        ),
        Claim(
            "There are no lottery tickets among these policies.",
            "needs training from the pruned initial weights",
            "undecided",
            None,
            0,
            "no cell trains from scratch",
        ),
    )


def _claim(text: str, measure: str, rows: Sequence[Row], value: Callable[[Sequence[Row]], float | None]) -> Claim:
    by_digest: dict[str, list[float]] = defaultdict(list)
    for (policy, _), group in by_policy(undisturbed(rows)).items():
        if (found := value(group)) is not None:
            by_digest[policy].append(found)
    values = [mean(found) for found in by_digest.values()]
    if len(values) < MIN_POLICIES:
        note = f"{len(values)} policies with what it needs; at least {MIN_POLICIES} are needed"
        interval = interval_over_policies(values) if len(values) > 1 else None
        return Claim(text, measure, "undecided", interval, len(values), note)
    interval = interval_over_policies(values)
    answer: Answer = "holds" if interval.low > 0 else "does not hold" if interval.high < 0 else "undecided"
    speak_for = sum(v > 0 for v in values)
    return Claim(text, measure, answer, interval, len(values), f"{speak_for} of {len(values)} policies speak for it")


def interval_over_policies(values: Sequence[float]) -> Interval:
    """The mean over policies with its 95 % t-interval."""
    middle, n = mean(values), len(values)
    half = student_t_quantile(0.975, n - 1) * deviation(values) / n**0.5
    return Interval(middle, middle - half, middle + half)


def _no_saving(group: Sequence[Row], cost: Callable[[Row], float | None]) -> float | None:
    """NO_GAIN less the mean saved share: positive where next to nothing is saved."""
    # Rows of several studies have a baseline each, of which not all were measured.
    baselines = {row.format: cost(row) for row in group if not row.recipe and cost(row) is not None}
    saved = []
    for row in group:
        base, own = baselines.get(row.format), cost(row)
        compressed = {step.name for step in steps(row.recipe)} <= {"quantize", "prune_units", "prune_weights"}
        if row.recipe and compressed and base is not None and base > 0 and own is not None:
            saved.append(1 - own / base)
    return NO_GAIN - mean(saved) if saved else None


def _paired(group: Sequence[Row], ours: tuple[str, str, str], theirs: tuple[str, str, str]) -> float | None:
    """Mean of retention of `ours` less that of `theirs`, over recipes that differ in nothing else."""
    sides: list[dict[object, list[float]]] = [{}, {}]
    for row in group:
        found = steps(row.recipe)
        if len(found) != 1 or row.retention is None:
            continue
        for side, (name, parameter, choice) in zip(sides, (ours, theirs), strict=True):
            if found[0].name == name and found[0].get(parameter) == choice:
                others = tuple(pair for pair in found[0].named if pair[0] != parameter)
                side.setdefault((others, row.format), []).append(row.retention.estimate)
    differences = [mean(values) - mean(sides[1][key]) for key, values in sides[0].items() if key in sides[1]]
    return mean(differences) if differences else None


def _ten_percent(group: Sequence[Row]) -> float | None:
    kept = []
    for row in group:
        found = steps(row.recipe)
        alone = len(found) == 1 and found[0].name == "prune_units"
        if alone and row.retention is not None and (found[0].get("ratio"), found[0].get("importance")) == (0.1, "l2"):
            kept.append(row.retention.estimate)
    return mean(kept) - PAPERS_SHARE if kept else None


def _trained(group: Sequence[Row]) -> float | None:
    trained, plain = [], []
    for row in group:
        found = steps(row.recipe)
        if len(found) != 1 or row.retention is None or found[0].get("weight_bits") != 8:
            continue
        if found[0].name == "finetune" and not found[0].get("sparsity"):
            trained.append(row.retention.estimate)
        elif method(row.recipe) == "quantize dynamic":
            plain.append(row.retention.estimate)
    return mean(trained) - mean(plain) if trained and plain else None


def markdown(advice: Guidelines, keep: float) -> str:
    """The tables as text for a page of results."""
    words, papers = advice.words, f"best by the paper's rule (>= {PAPERS_SHARE:.0%} of its return)"
    rules = [*([papers] if advice.of_paper else []), f"best by our verdict (keep {keep:g})"]
    header = [words.kind, words.task, f"baseline's {words.score}", *rules, "candidates"]
    lines = ["| " + " | ".join(header) + " |", "|---|---|---:|" + "---|" * len(rules) + "---:|"]
    for found in advice.best:
        paper = _marked(found.by_paper) if found.paper_applies else "undefined: baseline <= 0"
        chosen = [*([paper] if advice.of_paper else []), _marked(found.by_verdict)]
        names = in_markdown(found.algorithm), in_markdown(found.environment)
        lines.append("| " + " | ".join((*names, found.baseline, *chosen, str(found.n_methods))) + " |")
    if not advice.of_paper:
        return "\n".join(lines) + "\n"
    lines += [
        "",
        "| claim of arXiv 2407.04803 | answer | mean [95 %] | policies | measured as |",
        "|---|---|---|---:|---|",
    ]
    for claim in advice.claims:
        cells = (claim.text, claim.answer, interval_text(claim.interval), str(claim.n_policies), claim.measure)
        lines.append("| " + " | ".join(in_markdown(cell) for cell in (*cells[:4], f"{cells[4]}; {claim.note}")) + " |")
    return "\n".join(lines) + "\n"


def described(row: Row | None) -> str:
    """A candidate in a table's cell: recipe, factor, episodes and what it kept."""
    return "none" if row is None else f"{row.recipe} {_kept(row)}"


def _marked(row: Row | None) -> str:
    return "none" if row is None else f"{in_markdown_cell(row.recipe)} {_kept(row)}"


def _kept(row: Row) -> str:
    kept = row.retention
    share = f", kept {kept.estimate:.1%} [{kept.low:.1%}, {kept.high:.1%}]" if kept is not None else ""
    return f"({row.format}, {row.smaller or 0:.1f}x, n={row.n_episodes}{share})"


def interval_text(interval: Interval | None) -> str:
    """A mean with its ends, or a dash."""
    return "-" if interval is None else f"{interval.estimate:+z.3f} [{interval.low:+z.3f}, {interval.high:+z.3f}]"
