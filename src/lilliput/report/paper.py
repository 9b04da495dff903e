"""Tables for a paper, in Markdown and LaTeX: what each method kept on each policy, and those of arXiv 2407.04803."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from lilliput.report import aggregates, table
from lilliput.report.answers import algorithm, by_policy, costs, labels, verdict_of
from lilliput.report.guidelines import PAPERS_SHARE
from lilliput.report.recipe_text import method, steps
from lilliput.report.summary import Row

ALGORITHMS = ("TRPO", "PPO", "DDPG", "TD3", "SAC")
TASKS = ("HalfCheetah", "HumanoidStandup", "Ant", "Humanoid", "Hopper")
"""The grid of arXiv 2407.04803."""

NO_POLICY = "no public policy"


@final
@dataclass(frozen=True)
class Table:
    """A caption, a heading and lines of text; the first `n_text` columns are words, the others numbers."""

    name: str
    caption: str
    header: tuple[str, ...]
    body: tuple[tuple[str, ...], ...]
    n_text: int = 2

    def markdown(self) -> str:
        """The table in GitHub's Markdown."""
        rule = ["---"] * self.n_text + ["---:"] * (len(self.header) - self.n_text)
        lines = [self.header, rule, *self.body]
        text = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        return f"**{self.caption}**\n\n{text}\n"

    def latex(self) -> str:
        """The table for LaTeX with the package booktabs."""
        columns = "l" * self.n_text + "r" * (len(self.header) - self.n_text)
        lines = [" & ".join(map(_escaped, line)) + r" \\" for line in (self.header, *self.body)]
        body = "\n".join([r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule"])
        caption = f"\\caption{{{_escaped(self.caption)}}}\n\\label{{tab:{self.name}}}"
        tabular = f"\\begin{{tabular}}{{{columns}}}\n{body}\n\\end{{tabular}}"
        return f"\\begin{{table}}\n\\centering\n{caption}\n{tabular}\n\\end{{table}}\n"


def tables(rows: Sequence[Row], keep: float) -> tuple[Table, ...]:
    """The tables that these rows fill."""
    found = [_methods(rows), _smallest(rows, keep)]
    if aggregates.spreads(rows):
        found.append(_spreads(rows))
    tried = {method(row.recipe) for row in rows}
    if {"quantize dynamic", "quantize static", "prune_units l1", "prune_units l2"} <= tried:
        found += [_quantized(rows), _pruned(rows), *_costs(rows)]
    return tuple(one for one in found if one.body)


def _methods(rows: Sequence[Row]) -> Table:
    body = []
    for cost in costs(rows):
        share = cost.retention
        counts = [str(cost.statuses[name]) for name in ("kept", "lost", "undecided", "failed")]
        kept = f"{share.estimate:.1%} [{share.low:.1%}, {share.high:.1%}]" if share else "-"
        factors = ["-" if factor is None else f"{factor:.1f}x" for factor in (cost.smaller, cost.faster)]
        body.append((cost.method, kept, *factors, str(cost.n_policies), str(cost.n_cells), *counts))
    header = ("method", "retention (IQM) [95 %]", "smaller", "faster", "policies", "cells")
    caption = "What each method did: interquartile mean over its cells, median factors"
    return Table("methods", caption, (*header, "kept", "lost", "undecided", "failed"), tuple(body), 1)


def _smallest(rows: Sequence[Row], keep: float) -> Table:
    names = labels(rows)
    body = []
    for key, group in by_policy(rows).items():
        kept = [row for row in group if verdict_of(row) == "kept" and row.smaller is not None]
        best = max(kept, key=lambda row: row.smaller or 0, default=None)
        if best is None:
            body.append((names[key], "none surely kept it", "", "", ""))
            continue
        body.append(
            (
                names[key],
                best.recipe,
                f"{best.model_bytes:,}",
                f"{best.smaller or 0:.1f}x",
                table.kept_cells(best)[5],
            )
        )
    header = ("policy", "recipe", "bytes", "smaller", "retention [95 %]")
    return Table("smallest", f"The smallest of each policy that kept {keep:.0%} of the return", header, tuple(body))


def _spreads(rows: Sequence[Row]) -> Table:
    body = tuple(
        (
            *(spread.method, spread.source, spread.observations),
            *(f"{value:.1%}" for value in (spread.mean, spread.sd, spread.widest)),
            *(str(spread.n_policies), str(spread.n_draws)),
        )
        for spread in aggregates.spreads(rows)
    )
    header = ("method", "source", "observations", "retention", "sd over draws", "widest range", "policies", "draws")
    return Table("calibration", "What the draw of the calibration data does, the steadiest first", header, body, 3)


def _is(row: Row, name: str, **wanted: object) -> bool:
    found = steps(row.recipe)
    return len(found) == 1 and found[0].name == name and all(found[0].get(key) == v for key, v in wanted.items())


_COLUMNS: tuple[tuple[str, Callable[[Row], bool]], ...] = (
    ("PTDQ", lambda row: _is(row, "quantize", weight_bits=8, scheme="dynamic")),
    ("PTSQ", lambda row: _is(row, "quantize", weight_bits=8, scheme="static", source=None)),
    ("QAT", lambda row: _is(row, "finetune", weight_bits=8)),
)


def _grid(rows: Sequence[Row]) -> list[tuple[str, str, list[Row]]]:
    """The cells of the paper's tables, then the policies that it does not have; a cell without a policy is empty."""
    groups = [group for group in by_policy(rows).values() if any(row.names for row in group)]
    left = {id(group): group for group in groups}
    found: list[tuple[str, str, list[Row]]] = []
    for name in ALGORITHMS:
        for task in TASKS:
            own = [g for g in groups if algorithm(g[0]) == name and g[0].environment.split("-")[0] == task]
            found += [(name, g[0].environment, g) for g in own] or [(name, task, [])]
            for group in own:
                left.pop(id(group))
    return found + [(algorithm(group[0]), group[0].environment, group) for group in left.values()]


def _format_of(rows: Sequence[Row]) -> str:
    return "onnx" if any(row.format == "onnx" for row in rows) else next((row.format for row in rows), "")


def _quantized(rows: Sequence[Row]) -> Table:
    format_ = _format_of(rows)
    body = []
    for name, task, group in _grid(rows):
        own = [row for row in group if row.format == format_]
        if not own:
            body.append((name, task, NO_POLICY, *("" for _ in _COLUMNS)))
            continue
        baseline = next((row for row in own if not row.recipe), None)
        cells = [next((row for row in own if fits(row)), None) for _, fits in _COLUMNS]
        body.append((name, task, _mean(baseline), *map(_mean, cells)))
    header = ("algorithm", "environment", "Baseline", *(name for name, _ in _COLUMNS))
    caption = (
        "Average return with quantization, in the layout of Table 1 of arXiv 2407.04803; QAT here is imitation of the "
        "policy as it was, not reinforcement learning"
    )
    return Table("quantization", caption, header, tuple(body))


def _mean(row: Row | None) -> str:
    """An average return with its standard deviation over episodes, and the retention where there is one."""
    if row is None:
        return "-"
    if row.mean_return is None:
        return row.status.replace("_", " ")
    sd = f"±{table.number(row.sd_return)}" if row.sd_return is not None else ""
    kept = f" ({row.retention.estimate:.0%})" if row.retention is not None else ""
    return f"{table.number(row.mean_return)}{sd}{kept}"


def _pruned(rows: Sequence[Row]) -> Table:
    """The highest ratio that the paper's rule lets pass, by each norm, and what the better of them returns."""
    format_ = _format_of(rows)
    body = []
    for name, task, group in _grid(rows):
        own = [row for row in group if row.format == format_]
        if not own:
            body.append((name, task, NO_POLICY, "", "", "", ""))
            continue
        baseline = next((row for row in own if not row.recipe), None)
        chosen = [_furthest(own, norm) for norm in ("l1", "l2")]
        percents = ["none" if row is None else f"{steps(row.recipe)[0].get('ratio'):.0%}" for row in chosen]
        kept = [row for row in chosen if row is not None]
        best = max(kept, key=lambda row: steps(row.recipe)[0].get("ratio"), default=None)
        share = table.kept_cells(best)[5] if best is not None else "-"
        body.append((name, task, _mean(baseline), _mean(best) if best else "none", *percents, share))
    header = ("algorithm", "environment", "Baseline", "Pruned", "L1", "L2", "retention [95 %]")
    caption = (
        f"Pruning of units: the highest ratio up to which the mean stays at or above {PAPERS_SHARE:.0%} of the "
        "baseline's, in the layout of Table 2 of arXiv 2407.04803 (undefined for baselines that are not above 0)"
    )
    return Table("pruning", caption, header, tuple(body))


def _furthest(rows: Sequence[Row], norm: str) -> Row | None:
    """The candidate of the highest ratio before the first that falls below the paper's share."""
    found = None
    own = [row for row in rows if _is(row, "prune_units", importance=norm) and row.mean_return is not None]
    for row in sorted(own, key=lambda row: steps(row.recipe)[0].get("ratio")):
        if (row.baseline_mean or 0) <= 0 or (row.mean_return or 0) < PAPERS_SHARE * (row.baseline_mean or 0):
            break
        found = row
    return found


def _costs(rows: Sequence[Row]) -> list[Table]:
    """One table a cost: the baseline's, and each method's as a share of it."""
    half = ("prune 50 %", lambda row: _is(row, "prune_units", ratio=0.5, importance="l2"))
    quantities: tuple[tuple[str, str, Callable[[Row], float | None], Callable[[float], str]], ...] = (
        ("inference", "Time of a decision", lambda row: row.latency.p50 if row.latency else None, table.seconds),
        ("episode", "Time of an episode with its environment", lambda row: row.episode_time_s, table.seconds),
        ("memory", "Peak resident memory", lambda row: row.peak_memory_bytes, lambda v: f"{v / 2**20:.1f} MiB"),
        ("energy", "Energy of a decision", lambda row: row.energy_j, lambda v: f"{v * 1e6:.3g} uJ"),
        ("bytes", "Model bytes", lambda row: row.model_bytes, lambda v: f"{v:,.0f}"),
    )
    found = []
    for name, caption, cost, shown in quantities:
        body = []
        for format_ in dict.fromkeys(row.format for row in rows):
            for algorithm_, task, group in _grid(rows):
                own = [row for row in group if row.format == format_]
                base = next((value for row in own if not row.recipe and (value := cost(row)) is not None), None)
                if base is None:
                    continue
                cells = [
                    next((f"{value / base:.2f}" for row in own if fits(row) and (value := cost(row)) is not None), "-")
                    for _, fits in (*_COLUMNS, half)
                ]
                body.append((algorithm_, task, format_, shown(base), *cells))
        header = (
            "algorithm",
            "environment",
            "format",
            "Baseline",
            *(f"{one[0]} / Baseline" for one in (*_COLUMNS, half)),
        )
        found.append(
            Table(name, f"{caption}: the baseline's, and the share of it that is left", header, tuple(body), 3)
        )
    return found


def _escaped(text: str) -> str:
    r"""Text as LaTeX prints it.

    >>> print(_escaped("prune_units | 50 %"))
    prune\_units \textbar{} 50 \%
    """
    known = {"\\": r"\textbackslash{}", "|": r"\textbar{}", "±": r"$\pm$", "<": r"\textless{}", ">": r"\textgreater{}"}
    known |= {one: "\\" + one for one in "&%$#_{}"} | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(known.get(one, one) for one in text)
