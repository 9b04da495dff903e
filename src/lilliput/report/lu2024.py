"""The tables of arXiv 2407.04803 in its layout, filled by rows."""

from collections.abc import Callable, Sequence

from lilliput.report import table
from lilliput.report.guidelines import PAPERS_SHARE
from lilliput.report.label import algorithm
from lilliput.report.printed_table import PrintedTable
from lilliput.report.recipe_text import method, steps
from lilliput.report.row import Row, by_policy

ALGORITHMS = ("TRPO", "PPO", "DDPG", "TD3", "SAC")
TASKS = ("HalfCheetah", "HumanoidStandup", "Ant", "Humanoid", "Hopper")
"""The grid of arXiv 2407.04803."""

NO_POLICY = "no public policy"


def tables(rows: Sequence[Row]) -> list[PrintedTable]:
    """Its tables where the rows hold its methods, else none."""
    tried = {method(row.recipe) for row in rows}
    if not {"quantize dynamic", "quantize static", "prune_units l1", "prune_units l2"} <= tried:
        return []
    return [_quantized(rows), _pruned(rows), *_costs(rows)]


def _is(row: Row, name: str, **wanted: object) -> bool:
    found = steps(row.recipe)
    return len(found) == 1 and found[0].name == name and all(found[0].get(key) == v for key, v in wanted.items())


_COLUMNS: tuple[tuple[str, Callable[[Row], bool]], ...] = (
    ("PTDQ", lambda row: _is(row, "quantize", weight_bits=8, scheme="dynamic")),
    ("PTSQ", lambda row: _is(row, "quantize", weight_bits=8, scheme="static", source=None)),
    ("QAT", lambda row: _is(row, "finetune", weight_bits=8, sparsity=None)),
)


def _grid(rows: Sequence[Row]) -> list[tuple[str, str, list[Row]]]:
    """The cells of the paper's tables, then the policies that it does not have; a cell without a policy is empty."""
    groups = [group for group in by_policy(rows).values() if any(row.names for row in group)]
    left = {id(group): group for group in groups}
    found: list[tuple[str, str, list[Row]]] = []
    for name in ALGORITHMS:
        for task in TASKS:
            own = [g for g in groups if _learned_by(g[0], name) and g[0].environment.partition("-")[0] == task]
            found += [(algorithm(g[0]), g[0].environment, g) for g in own] or [(name, task, [])]
            for group in own:
                left.pop(id(group))
    return found + [(algorithm(group[0]), group[0].environment, group) for group in left.values()]


def _learned_by(row: Row, name: str) -> bool:
    """Whether the algorithm is the named one; "TD3 (spinningup)" is TD3, and "TD3 or DDPG" of a file that fits both."""
    return algorithm(row).partition(" ")[0] == name


def _format_of(rows: Sequence[Row]) -> str:
    formats = [row.format for row in rows if row.recipe]  # a baseline may be played in no format at all
    return "onnx" if "onnx" in formats else next(iter(formats), "")


def _quantized(rows: Sequence[Row]) -> PrintedTable:
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
    return PrintedTable("quantization", caption, header, tuple(body))


def _mean(row: Row | None) -> str:
    """An average return with its standard deviation over episodes, and the retention where there is one."""
    if row is None:
        return "-"
    if row.mean_return is None:
        return row.status.replace("_", " ")
    sd = f"±{table.number(row.sd_return)}" if row.sd_return is not None else ""
    kept = f" ({row.retention.estimate:.0%})" if row.retention is not None else ""
    return f"{table.number(row.mean_return)}{sd}{kept}"


def _pruned(rows: Sequence[Row]) -> PrintedTable:
    """The highest ratio that the paper's rule lets pass, by each norm, and what the better of them returns."""
    format_ = _format_of(rows)
    body: list[tuple[str, ...]] = []
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
        share = table.retention_text(best) if best is not None else "-"
        body.append((name, task, _mean(baseline), _mean(best) if best else "none", *percents, share))
    header = ("algorithm", "environment", "Baseline", "Pruned", "L1", "L2", "retention [95 %]")
    caption = (
        f"Pruning of units: the highest ratio up to which the mean stays at or above {PAPERS_SHARE:.0%} of the "
        "baseline's, in the layout of Table 2 of arXiv 2407.04803 (undefined for baselines that are not above 0)"
    )
    return PrintedTable("pruning", caption, header, tuple(body))


def _furthest(rows: Sequence[Row], norm: str) -> Row | None:
    """The candidate of the highest ratio before the first that falls below the paper's share."""
    found = None
    own = [row for row in rows if _is(row, "prune_units", importance=norm) and row.mean_return is not None]
    for row in sorted(own, key=lambda row: steps(row.recipe)[0].get("ratio")):
        if (row.baseline_mean or 0) <= 0 or (row.mean_return or 0) < PAPERS_SHARE * (row.baseline_mean or 0):
            break
        found = row
    return found


_EPISODE = "Time of an episode with its environment, shorter where it ends early"


def _costs(rows: Sequence[Row]) -> list[PrintedTable]:
    """One table a cost: the baseline's, and each method's as a share of it."""
    half = ("prune 50 %", lambda row: _is(row, "prune_units", ratio=0.5, importance="l2"))
    quantities: tuple[tuple[str, str, Callable[[Row], float | None], Callable[[float], str]], ...] = (
        ("inference", "Time of a decision", lambda row: row.latency.p50 if row.latency else None, table.seconds),
        ("episode", _EPISODE, lambda row: row.episode_time_s, table.seconds),
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
            PrintedTable(name, f"{caption}: the baseline's, and the share of it that is left", header, tuple(body), 3)
        )
    return found
