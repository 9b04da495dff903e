"""The report as one self-contained HTML file: nothing is loaded from anywhere."""

import base64
import html
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from string import Template
from typing import Any, final

from lilliput.errors import MissingDependency
from lilliput.files import write_whole
from lilliput.measurement import QUANTITIES
from lilliput.record import Record
from lilliput.report import guidelines, page_data, study_tables, summary, table
from lilliput.report.label import labels
from lilliput.report.printed_table import PrintedTable
from lilliput.report.remarks import warnings
from lilliput.report.row import Row, by_policy, verdict_of
from lilliput.report.smallest import promising, smallest
from lilliput.report.vocabulary import POLICIES, Words, words_of


@final
@dataclass(frozen=True)
class Clip:
    """An animated picture (WebP) of the baseline, on the left, beside a candidate on the same seed."""

    policy: str
    recipe: str
    format: str
    seed: int
    size: tuple[int, int]
    webp: bytes


def write(records: Sequence[Record], keep: float, path: Path, title: str) -> Path:
    """The page of some records, written to `path`.

    Raises:
        MissingDependency: plotly is not installed.
    """
    return write_rows(summary.rows(records, keep), records, keep, path, title)


def write_rows(
    rows: Sequence[Row],
    records: Sequence[Record],
    keep: float,
    path: Path,
    title: str,
    *,
    tables: Sequence[PrintedTable] | None = None,
    advice: guidelines.Guidelines | None = None,
    study: str = "",
    notes: Sequence[str] = (),
    caveats: Sequence[str] = (),
    clips: Sequence[Clip] = (),
) -> Path:
    """The same, of rows, and maybe tables and guidelines, that were computed already; `study` is the study file's text.

    `notes` say what was left out; `caveats` what of the sources was guessed, or is not as in their training.

    Raises:
        MissingDependency: plotly is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise MissingDependency("report.html needs plotly; install it with: pip install 'lilliput[report]'") from error
    shown = {one.name: _shown(one) for one in tables or study_tables.tables(rows, keep)}
    advice = advice or guidelines.guidelines(rows)
    words = advice.words
    assets = resources.files("lilliput.report")
    filled = Template((assets / "page.html").read_text(encoding="utf-8")).substitute(
        title=html.escape(title),
        css=(assets / "page.css").read_text(encoding="utf-8"),
        plotly=get_plotlyjs(),
        js=(assets / "page.js").read_text(encoding="utf-8"),
        data=_embedded(page_data.of_rows(rows, keep)),
        **{name: html.escape(value) for name, value in vars(words).items() if isinstance(value, str)},
        others="".join(text for name, text in shown.items() if name not in _PLACED),
        picked=_PICKED if words is POLICIES else "",
        summary=_summary(rows, keep, words),
        smallest=_smallest(rows, keep),
        disturbed=shown.get("disturbances", ""),
        methods=shown.get("methods", ""),
        failures=_failures(rows) + _warnings(rows),
        ranges="".join(text for name, text in shown.items() if name in study_tables.PARAMETERS),
        targets=shown.get("targets", ""),
        spreads=shown.get("calibration", ""),
        replays=_replays(clips),
        best=_best(advice, keep),
        claims=_claims(advice),
        conditions=_caveats(caveats) + _conditions(records),
        repeat=_repeat(study, notes, words),
        version=html.escape(metadata.version("lilliput")),
    )
    return write_whole(path, filled)


_PLACED = {"smallest", "disturbances", "methods", "targets", "calibration", *study_tables.PARAMETERS}
"""The tables that have a place of their own on the page; all others stand together, below the smallest."""


def _embedded(data: Any) -> str:
    """JSON that no text inside can end or break the script element with."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


_PICKED = (
    "Each was picked among several on the same episodes, so its retention is a little flattering; "
    "<code>lilliput shrink</code> confirms on episodes that no search saw."
)


def _summary(rows: Sequence[Row], keep: float, words: Words) -> str:
    candidates = [row for row in rows if row.recipe]
    verdicts = [verdict_of(row) for row in candidates]
    best = [row for row in smallest(rows) if row is not None]
    factor = max((row.smaller or 0 for row in best), default=0)
    played = len(by_policy(rows))
    several = played > len({row.policy for row in rows})
    whole = (
        f"{played} pairs of {words.subject} and {words.task}"
        if several
        else f"1 {words.subject}"
        if played == 1
        else f"{played} {words.subjects}"
    )
    cards = [
        (
            f"Kept the {words.score}",
            f"{verdicts.count('kept')} of {len(candidates)}",
            f"at least {keep:.0%} of it, 95 % sure",
        ),
        ("Lost it", str(verdicts.count("lost")), f"{verdicts.count('undecided')} undecided"),
        (
            "Smallest that kept it",
            f"{factor:.1f}x smaller" if factor else "none",
            f"{len(best)} of {whole} {'has' if played == 1 else 'have'} one",
        ),
        ("Failed", str(verdicts.count("failed")), f"{verdicts.count('not applicable')} had nothing to do"),
    ]
    return "".join(
        f'<div class="card"><span>{html.escape(name)}</span><b>{html.escape(value)}</b>'
        f"<small>{html.escape(more)}</small></div>"
        for name, value, more in cards
    )


def _table(header: Sequence[str], body: Sequence[Sequence[str]], caption: str, *, text_columns: int = 1) -> str:
    """A table of texts, which are escaped; columns after the first `text_columns` are numbers."""
    if not body:
        return f"<p>{html.escape(caption)}: none.</p>"

    def row(cells: Sequence[str], tag: str) -> str:
        found = []
        for number, cell in enumerate(cells):
            one_word = ' class="word"' if " " not in cell and len(cell) < 20 else ""
            kind = one_word if number < text_columns else ' class="number"'
            scope = ' scope="col"' if tag == "th" else ""
            found.append(f"<{tag}{scope}{kind}>{html.escape(cell)}</{tag}>")
        return f"<tr>{''.join(found)}</tr>"

    return (
        f'<div class="scroll" tabindex="0"><table><caption><span>{html.escape(caption)}</span></caption>'
        f"<thead>{row(header, 'th')}</thead><tbody>{''.join(row(cells, 'td') for cells in body)}</tbody></table></div>"
    )


def _shown(one: PrintedTable) -> str:
    """A table as a section of the page."""
    return _table(one.header, one.body, one.caption, text_columns=one.n_text)


def _smallest(rows: Sequence[Row], keep: float) -> str:
    names, words = labels(rows), words_of(row.task for row in rows)
    timed = any(row.latency is not None for row in rows)
    body = []
    for (key, group), row in zip(by_policy(rows).items(), smallest(rows), strict=True):
        if row is None:
            text = f"none of {sum(bool(r.recipe) for r in group)} surely kept it"
            row = promising(group, keep)
            if row is None or row.verdict is None:
                body.append([names[key], text, "", "", "", "", ""][: 6 + timed])
                continue
            what = f"{text}; about {row.verdict.episodes_needed:,} {words.items} would decide on {row.recipe}"
        else:
            what = row.recipe
        time = row.latency
        body.append(
            [
                names[key],
                what,
                f"{row.model_bytes:,}",
                f"{row.smaller or 0:.1f}x",
                table.retention_text(row),
                f"{table.score_text(row)} / {table.baseline_text(row)}{_early(row)}",
                f"{table.seconds(time.p50)}, {table.times(time.ratio, 'faster', 'slower')}"
                if time and time.ratio
                else "-",
            ][: 6 + timed]
        )
    header = (
        words.subject,
        f"smallest that kept the {words.score}",
        "bytes",
        "smaller",
        "retention [95 %]",
        f"{words.score} / baseline",
        f"one {words.answer}",
    )
    return _table(header[: 6 + timed], body, f"The smallest of each {words.subject}", text_columns=2)


def _early(row: Row) -> str:
    """How many episodes ended by themselves, of the candidate and its baseline; nothing where none did."""
    if not row.n_terminated and not row.baseline_terminated:
        return ""
    return f" (ended early: {row.n_terminated} / {row.baseline_terminated} of {row.n_episodes})"


def _replays(clips: Sequence[Clip]) -> str:
    """Closed until somebody opens it: nothing moves unasked."""
    figures = []
    for clip in clips:
        source = f"data:image/webp;base64,{base64.b64encode(clip.webp).decode()}"
        text = f"{clip.policy}: left as loaded, right {clip.recipe} ({clip.format}), seed {clip.seed}"
        width, height = clip.size
        figures.append(
            f'<figure><img src="{source}" width="{width}" height="{height}" alt="{html.escape(text)}" loading="lazy">'
            f"<figcaption>{html.escape(text)}</figcaption></figure>"
        )
    if not figures:
        return ""
    return f'<details class="replays"><summary>Replays</summary><div class="clips">{"".join(figures)}</div></details>'


def _failures(rows: Sequence[Row]) -> str:
    names = labels(rows)
    found = [row for row in rows if row.status == "failed"]
    if not found:
        return "<p>Nothing failed.</p>"
    body = [
        [names[row.policy, row.environment], row.recipe or "(baseline)", row.format, row.reason] for row in found[:200]
    ]
    more = f" (the first 200 of {len(found)})" if len(found) > len(body) else ""
    return _table(
        (words_of(row.task for row in rows).subject, "recipe", "format", "reason"),
        body,
        f"What failed{more}",
        text_columns=4,
    )


def _warnings(rows: Sequence[Row]) -> str:
    lines = "".join(f"<li>{html.escape(line)}</li>" for line in warnings(rows))
    return f"<p>With care:</p><ul>{lines}</ul>" if lines else ""


def _best(advice: guidelines.Guidelines, keep: float) -> str:
    body = [
        [
            found.algorithm,
            found.environment,
            *([_by_paper(found)] if advice.of_paper else []),
            guidelines.described(found.by_verdict),
            found.baseline,
            str(found.n_methods),
        ]
        for found in advice.best
    ]
    header = (
        advice.words.kind,
        advice.words.task,
        *([f"by the paper's rule (mean at least {guidelines.PAPERS_SHARE:.0%})"] if advice.of_paper else []),
        f"by our verdict (keep {keep:g})",
        "baseline",
        "candidates",
    )
    caption = f"The method of the highest compression that kept the {advice.words.score}"
    return _table(header, body, caption, text_columns=len(header) - 2)


def _by_paper(best: guidelines.Best) -> str:
    return guidelines.described(best.by_paper) if best.paper_applies else "undefined: baseline is not above 0"


def _claims(advice: guidelines.Guidelines) -> str:
    if not advice.of_paper:
        return ""
    body = [
        [
            claim.text,
            claim.answer,
            f"{claim.measure}; {claim.note}",
            guidelines.interval_text(claim.interval),
            str(claim.n_policies),
        ]
        for claim in advice.claims
    ]
    header = ("claim of arXiv 2407.04803", "here it", "measured as", "mean [95 %]", "policies")
    return _table(header, body, "Published claims, answered by these rows", text_columns=3)


_Machine = tuple[str, str, int, str, str]
"""Processor, instruction set, cores, operating system, Python."""


def _conditions(records: Sequence[Record]) -> str:
    seen: Counter[tuple[_Machine, tuple[tuple[str, str], ...]]] = Counter()
    methods: dict[str, str] = {}
    # The floor's last: it is counted, not measured, where a quantity has both.
    for record in sorted(records, key=lambda one: one.cell.is_floor):
        for measurement in record.measurements:
            here = measurement.conditions
            machine = (here.processor, here.instruction_set, here.n_cores, here.operating_system, here.python)
            seen[machine, here.packages] += 1
            methods.setdefault(measurement.quantity, measurement.method)
    header = ("processor", "instruction set", "cores", "operating system", "Python", "packages", "measurements")
    body = [
        [*map(str, machine), ", ".join(f"{name} {version}" for name, version in packages), f"{n:,}"]
        for (machine, packages), n in seen.items()
    ]
    how = [[name, QUANTITIES[name].description, text] for name, text in methods.items()]
    return _table(header, body, "Where it was measured", text_columns=6) + _table(
        ("quantity", "what it is", "how it was measured"), how, "How", text_columns=3
    )


def _caveats(caveats: Sequence[str]) -> str:
    """What was guessed of the sources, and what is not as it was in their training."""
    if not caveats:
        return ""
    items = "".join(f"<li>{html.escape(caveat)}</li>" for caveat in caveats)
    return f"<p>Guessed, because the source does not say, or otherwise than in training:</p><ul>{items}</ul>"


def _repeat(study: str, notes: Sequence[str], words: Words) -> str:
    parts = [f"<li>{html.escape(note)}</li>" for note in notes]
    listed = f"<p>Left out:</p><ul>{''.join(parts)}</ul>" if parts else ""
    if not study:
        return (
            listed
            + "<p>The records beside this page hold every seed, version and setting; the same command repeats it.</p>"
        )
    return (
        f"{listed}<p>Save this as <code>study.toml</code> beside its {words.subjects} and run "
        f"<code>lilliput study run study.toml -o DIR</code>; every seed follows from its <code>seed</code>.</p>"
        f'<pre tabindex="0">{html.escape(study)}</pre>'
    )
