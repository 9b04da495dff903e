"""Prints docs/results-models.md from the folders of finished studies: every table is computed, the words are here.

lilliput study run studies/NAME.toml -o RESULTS/NAME
python docs/results_models.py RESULTS > docs/results-models.md
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lilliput.record import Record
from lilliput.report import calibration_draws, saxena2024, summary, williams2024
from lilliput.report.calibration_draws import Draws
from lilliput.report.row import verdict_of
from lilliput.report.study_tables import ranges
from lilliput.study.conduct import read_plan, records

HEAD = """# Results on models

Every number is that of the exported artifact, run by the runtime that will run it; `retention` is the share of the
baseline's score above that of chance on the same items, with its 95 % interval; *kept* means that with 95 % confidence
it is at least the share asked for. Tables are printed by `python docs/results_models.py RESULTS` from the records of
the [studies that ship](studies.md#the-studies-that-ship). How to read them: [language models](models-language.md)."""

ANSWERS = {
    "saxena2024": """What Saxena et al. report in their abstract, on small public models (their own models and tables
are not public).

- *Size by quantization*: float16 halves and loses nothing anywhere. Eight bits are 2.8 to 4.0 times smaller and
  surely kept by all but the detector, whose average precision falls from 0.188 to 0.174 (dynamic) and 0.180
  (static), which 102 images do not decide. (The detector's static row was measured again since what follows its last
  layer stays real, 0.181 before; its time is the earlier one: on a machine that other work shared it took 1.24 times
  the baseline's, where dynamic int8 took 3.2 times.)
- *Pruning up to a threshold*: the threshold is another one in each family, and can lie below the first step. Half
  of the weights can go from the autoencoder, 30 % from ResNet-20; the detector, whose convolutions are depthwise,
  keeps 13 % of its precision at 30 %. Which score is asked matters as much: at 30 % the diffusion model keeps 97 %
  by its noise error and 86 % by its Frechet distance. Nothing pruned is better than the uncompressed model.
- *Channels* without training are lost on all but the autoencoder (95.6 % kept at 30 %; 99.5 % after 300 steps of
  finetuning). `multiple=8` at 30 % takes up to half of a layer's channels, since what is left is rounded down.
- *Together*: pruned and quantized is smaller than either alone where the pruning alone is kept, which was the
  autoencoder (6.3 times against 4.0). Rounding before pruning is a little better on the diffusion model (64 % of
  the Frechet distance against 55 %); elsewhere the order made no difference.
- *Language*: GPTQ is better than nearest at 4 bits (perplexity 6.12 against 6.42; 5.71 uncompressed) and at 3 (10.1
  against 13.6). An adapter of rank 8 behind 3 bits brings 13.6 to 8.35, and takes more bytes (325,888) than 4 bits
  without one (261,728), which are better. Codes with zero points have no packed form that `from_pretrained` reads,
  so these folders are as large as before.
- *Pruned is not smaller on disk*: an ONNX file stores zeros like other numbers; its zip is what pruning saves. All
  that was pruned is still zero in every artifact.
- *Time of an answer*, interleaved with the baseline's: dynamic int8 is slower wherever there are convolutions (0.43
  to 0.65 times as fast: ResNet-20, detector, diffusion) and faster on the dense autoencoder (1.6 times); static int8
  is faster on all four (1.1 to 2.2 times). Removing 10 % of the channels makes convolutions *slower* (0.58 to 0.78
  times as fast), since onnxruntime blocks convolutions of whole fours only; 30 % in multiples of 8 makes them 1.75 to
  2.15 times as fast. Zeros and float16 gain nothing; transformers runs float16 and 8-bit folders at 0.6 times the
  speed of float32 here. 25 of the 72 smaller artifacts are slower than what they were made from. The timings had a
  core to
  themselves while other work ran on the second; two runs of one artifact differ by up to 4 %.

Finetuning brought ResNet-20 without half of its channels from 14.5 to 31.5 % in 400 steps on the 400 calibration
pictures, which is far from its 78.8 %; with static ranges behind it 30.0 %.""",
    "williams2024": """*How much does the calibration data decide what is left of a language model?* Stories260K:
260,032 weights, trained on children's stories; 32 samples of 256 tokens a
draw. The paper's models have 6.7 to 33 billion weights and its scores are means over eleven zero-shot tasks, so its
ranges stand here for orders of magnitude.

**What reproduces.** The data changes what is left, on every task. SpQR depends on it least where anything is
decided (stories). Random tokens have the worst mean on stories for every method. Perplexity on stories, worst source
over best: SpQR 1.05, Wanda 1.31, GPTQ 1.40, SparseGPT 1.74; a prototype on other draws had 1.10, 1.44, 1.29, 1.63.
Measured on a processor with AVX2 and nothing newer; an earlier run on another machine had the same claims and verdicts,
and GPTQ's means up to 3.2 of perplexity (277.2 instead of 280.4, wiki text, random tokens) and 0.3 points apart.
On such a processor the whole study printed these tables once more, digit for digit. It took 14 minutes of two cores,
which other work shared for most of it (18.6 minutes of a processor for 222 models, judging two thirds of it); 6 were
aimed at. On an Intel Xeon (Emerald Rapids, 2 cores that other work shared) the first 229 of the 666 cells took 4.1
minutes of a processor, at which rate all take 12, the 6 of two cores. A quarter of it is torch's attention; the two
sentences of a pair begin alike for 24 % of the tokens that are asked.

**What does not, or stays open.** Draws of one source move the accuracy several times as far as in the paper (0.6 to
2.7 points of standard deviation, by up to 9.2), and asking other questions moves it as much: on BLiMP one pair of
sources of 40 is surely different (SparseGPT: wiki above code). The paper compares such means without intervals. That
pruning depends more on its data than quantization is undecided: GPTQ at 3 bits moves as far as Wanda. That random
tokens are the worst source is undecided, because they would have to be surely below every other source for every
method, and SpQR hardly tells sources apart. On wiki text, which this model hardly knows, the choice of the 40 windows
decides more than source and draw together, but for Wanda.""",
    "samples": """*How much calibration text is enough?* The same model, GPTQ and SparseGPT. Retention is of the log
likelihood above chance, over two texts. More than 8 to 32 samples change it little; more random tokens never reach what
8 samples of text do.""",
    "smollm2": """SmolLM2-135M-Instruct, from a GGUF file of Q4_1 weights: the baseline is what those stand for. The
first of five draws of every method and source, and the second of GPTQ; the others are not run yet, so nothing is said
of how draws differ but for GPTQ. Perplexity on wiki text (16.3 uncompressed) by source, first draw: SpQR at 3 bits
20.9 (wiki), 22.0 (c4), 23.5 (random); Wanda at half of the weights 32.1, 33.6, 48.5; SparseGPT 27.6, 31.9, 45.9; GPTQ
at 3 bits in groups of 64 55.5, 80.9, 276. Worst over best is 1.12, 1.51, 1.67 and 4.97: the order of stories260K is
the same, GPTQ depends on the source far more. Without data: nearest 135, magnitude 266. On BLiMP (92.3 %
uncompressed) random tokens are the best source of SpQR (91.3 %) and not the worst of Wanda and SparseGPT.""",
}
"""What the numbers of the page support; to be read again whenever it is printed from other numbers."""


def text(results: Path) -> str:
    """The page."""
    parts = [HEAD]
    for name, answer in ANSWERS.items():
        if (results / name / "plan.json").is_file():
            section = _families if name == "saxena2024" else _draws
            parts += [f"## {name}", *section(results / name, answer)]
    return "\n\n".join(parts) + "\n"


def _draws(folder: Path, answer: str) -> list[str]:
    """The section on a study of calibration draws."""
    plan, found = read_plan(folder), list(records(folder))
    groups = calibration_draws.draws_of(found)
    rng = np.random.default_rng(0)
    if folder.name == "samples":
        tables = ranges(summary.rows(found, plan["keep"]))
    else:
        tables = [*williams2024.tables(groups, rng=rng), *calibration_draws.tables(groups, rng=rng, keep=plan["keep"])]
    return [answer, _conditions(plan["cells"], found, groups), *(table.markdown().strip() for table in tables)]


def _conditions(cells: Sequence[str], found: Sequence[Record], groups: Sequence[Draws]) -> str:
    """How much was run, and where."""
    n = {status: sum(record.status == status for record in found) for status in ("done", "failed")}
    of = sorted({group.values.shape[1] for group in groups})
    spread = f"; {of[0] if of[0] == of[-1] else f'{of[0]} to {of[-1]}'} draws of each source" if of else ""
    here = next(m.conditions for record in found for m in record.measurements)
    short = "" if len(found) == len(cells) else f" ({len(cells) - len(found):,} not run)"
    where = f"{here.processor}, {here.operating_system}, Python {here.python}"
    return f"{n['done']:,} of {len(cells):,} cells measured{short}, {n['failed']} failed{spread}. {where}."


def _families(folder: Path, answer: str) -> list[str]:
    """The section on the study of four families."""
    plan, found = read_plan(folder), list(records(folder))
    missing = len(plan["cells"]) + len(plan["timings"]) - len(found)
    rows = summary.rows(found, plan["keep"])
    here = next(m.conditions for record in found for m in record.measurements)
    counts = {status: sum(r.status == status for r in found) for status in ("done", "failed", "not_applicable")}
    left = f"; {missing} of the study are not run yet" if missing > 0 else ""
    said = (
        f"{len(plan['cells'])} cells and {len(plan['timings'])} timings: "
        f"{counts['done']} done, {counts['failed']} failed, {counts['not_applicable']} without "
        f"effect{left}; keep {plan['keep']:g}; seed 0. {here.processor}, {here.n_cores} cores, Python {here.python}."
    )
    failed = [
        f"- {row.recipe} on {row.environment}: {row.reason}"
        for row in rows
        if row.status == "failed" and verdict_of(row) == "failed"
    ]
    *families, claims = saxena2024.tables(rows)
    parts = [
        said,
        answer,
        claims.markdown().strip(),
        *(one.markdown().strip() for one in families),
    ]
    return [*parts, *(["\n".join(failed)] if failed else [])]


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ", ".join(ANSWERS)
    told = f"the folder that holds a folder of each study that ran, by its name: {names}"
    arguments.add_argument("results", metavar="RESULTS", type=Path, help=told)
    given = arguments.parse_args().results
    if not any((given / name / "plan.json").is_file() for name in ANSWERS):
        arguments.error(f"{given} holds none of these studies; it is {told}")
    print(text(given), end="")
