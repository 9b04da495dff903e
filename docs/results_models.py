"""Prints docs/results-models.md from the folders of finished studies: every table is computed, the words are here.

python docs/results_models.py RESULTS > docs/results-models.md
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lilliput.record import Record
from lilliput.report import draws, saxena2024, summary, williams2024
from lilliput.report.draws import Draws
from lilliput.report.row import verdict_of
from lilliput.report.study_tables import ranges
from lilliput.study.conduct import read_plan, records

HEAD = """# Results of models

Printed by `python docs/results_models.py RESULTS` from the records of the [studies that
ship](studies.md#the-studies-that-ship). Every number is of the exported
artifact, opened by plain `from_pretrained`; every model was asked the same items. How to read the tables: [language
models](models-language.md)."""

ANSWERS = {
    "williams2024": """*How much does the calibration data decide what is left of a language model?* Stories260K:
260,032 weights, trained on children's stories; 32 samples of 256 tokens a
draw. The paper's models have 6.7 to 33 billion weights and its scores are means over eleven zero-shot tasks, so its
ranges stand here for orders of magnitude.

**What reproduces.** The data changes what is left, on every task. SpQR depends on it least where anything is
decided (stories). Random tokens have the worst mean on stories for every method. Perplexity on stories, worst source
over best: SpQR 1.05, Wanda 1.31, GPTQ 1.39, SparseGPT 1.74; a prototype on other draws had 1.10, 1.44, 1.29, 1.63.

**What does not, or stays open.** Draws of one source move the accuracy several times as far as in the paper (0.6 to
2.5 points of standard deviation, by up to 8.4), and asking other questions moves it as much: on BLiMP one pair of
sources of 40 is surely different (SparseGPT: wiki above code). The paper compares such means without intervals. That
pruning depends more on its data than quantization is undecided: GPTQ at 3 bits moves as far as Wanda. That random
tokens are the worst source is undecided, because they would have to be surely below every other source for every
method, and SpQR hardly tells sources apart. On wiki text, which this model hardly knows, the choice of the 40 windows
decides more than source and draw together, but for Wanda.""",
    "samples": """*How much calibration text is enough?* The same model, GPTQ and SparseGPT. Retention is of the log
likelihood above chance, over two texts. More than 8 to 32 samples change it little; more random tokens never reach what
8 samples of text do.""",
    "smollm2": """SmolLM2-135M-Instruct, from a GGUF file of Q4_1 weights: the baseline is what those stand for.""",
}
"""What the numbers of the page support; to be read again whenever it is printed from other numbers."""


def text(results: Path) -> str:
    """The page."""
    parts = [HEAD]
    for name, answer in ANSWERS.items():
        if (results / name / "plan.json").is_file():
            parts += [f"## {name}", answer, *_section(name, results / name)]
    if (results / "saxena2024" / "plan.json").is_file():
        parts.append(_families(results / "saxena2024"))
    return "\n\n".join(parts) + "\n"


def _section(name: str, folder: Path) -> list[str]:
    plan, found = read_plan(folder), list(records(folder))
    groups = draws.draws_of(found)
    rng = np.random.default_rng(0)
    if name == "samples":
        tables = ranges(summary.rows(found, plan["keep"]))
    else:
        tables = [*williams2024.tables(groups, rng=rng), *draws.tables(groups, rng=rng, keep=plan["keep"])]
    return [_conditions(plan["cells"], found, groups), *(table.markdown().strip() for table in tables)]


def _conditions(cells: Sequence[str], found: Sequence[Record], groups: Sequence[Draws]) -> str:
    """How much was run, and where."""
    n = {status: sum(record.status == status for record in found) for status in ("done", "failed")}
    of = sorted({group.values.shape[1] for group in groups})
    spread = f"; {of[0] if of[0] == of[-1] else f'{of[0]} to {of[-1]}'} draws of each source" if of else ""
    here = next(m.conditions for record in found for m in record.measurements)
    short = "" if len(found) == len(cells) else f" ({len(cells) - len(found):,} not run)"
    where = f"{here.processor}, {here.operating_system}, Python {here.python}"
    return f"{n['done']:,} of {len(cells):,} cells measured{short}, {n['failed']} failed{spread}. {where}."


def _families(folder: Path) -> str:
    """The section on the study of four families."""
    plan, found = read_plan(folder), list(records(folder))
    missing = len(plan["cells"]) + len(plan["timings"]) - len(found)
    rows = summary.rows(found, plan["keep"])
    here = next(m.conditions for record in found for m in record.measurements)
    counts = {status: sum(r.status == status for r in found) for status in ("done", "failed", "not_applicable")}
    left = f"; {missing} of the study are not run yet" if missing > 0 else ""
    said = (
        f"{len(found)} cells: {counts['done']} done, {counts['failed']} failed, {counts['not_applicable']} without "
        f"effect{left}; keep {plan['keep']:g}; seed 0. {here.processor}, {here.n_cores} cores, Python {here.python}."
    )
    failed = [
        f"- {row.recipe} on {row.environment}: {row.reason}"
        for row in rows
        if row.status == "failed" and verdict_of(row) == "failed"
    ]
    *families, claims = saxena2024.tables(rows)
    parts = ["## saxena2024", said, claims.markdown().strip(), *(one.markdown().strip() for one in families)]
    return "\n\n".join([*parts, *(["\n".join(failed)] if failed else [])])


if __name__ == "__main__":
    print(text(Path(sys.argv[1])), end="")
