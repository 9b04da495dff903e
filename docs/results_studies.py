"""Prints docs/results-studies.md from the folders of finished studies: every table is computed, the words are here.

lilliput study run studies/NAME.toml -o RESULTS/NAME
python docs/results_studies.py RESULTS > docs/results-studies.md
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from lilliput.record import Record
from lilliput.report import guidelines, study_tables, summary
from lilliput.report.row import Row, verdict_of
from lilliput.statistics import student_t_quantile
from lilliput.study.conduct import read_plan, records

ORDER = (
    "lu2024", "ivanov2024_pendulum", "ivanov2024_hopper", "ivanov2024_dqn", "ivanov2024", "bits", "order",
    "calibration", "robustness",
)  # fmt: skip

QUESTIONS = {
    "lu2024": "Do quantization and pruning keep the return, and do they lower memory, inference time and energy?",
    "ivanov2024_pendulum": "At equal steps, does compressing SAC while it learns beat compressing it afterwards?",
    "ivanov2024_hopper": "And on Hopper, one of the paper's tasks, at 100,000 steps?",
    "ivanov2024_dqn": "And for DQN, on a small task?",
    "ivanov2024": "How much of the return is left at 50 to 99 % sparsity with int8?",
    "bits": "Down to how many bits of weights and activations is the return kept?",
    "order": "Does the order matter in which one prunes, trains by imitation and quantizes?",
    "calibration": "How much does the outcome depend on the data that a method calibrates on?",
    "robustness": "Does a compressed policy stand less noise, delay, mass and friction than its baseline?",
}

ANSWERS = {
    "lu2024": """
Twenty of the paper's 25 cells: actors that others trained, and TRPO and PPO on HumanoidStandup by `lilliput train`
(600,064 steps, seed 0; PPO was stopped after 209,408, its best checkpoint is a weak policy).

The return: it depends on who trained. Policies of TRPO and PPO keep it through 8 bits after training, dynamic or
static (96 to 109 % of the mean on all eight, but for PPO Hopper with static ranges, 89 %). Those of DDPG, TD3 and SAC
often do not: two of twelve keep 90 % of the mean by dynamic and two by static quantization, and SAC Humanoid, TD3
Humanoid and DDPG Ant fall to 2 to 19 %. Four thousand steps of imitation at 8 bits bring them back (87 to 106 % on
all twenty). Pruning units without training does not keep it: 5 % by L2 surely on nine of twenty, 10 % on seven, 20 %
on two. That 10 % by L2 is safe, as the paper says, does not hold here; that dynamic keeps more than static does (by 9
points, 0.5 to 17).

Memory: the process that serves the model takes what it took, 0.98 to 1.01 in every cell. Time: int8 in the paper's
runtime (onnxruntime) is slower than float32 for most of these networks, a decision takes 0.64 to 1.28 times as long by
dynamic, 0.76 to 1.72 by static quantization; both are faster for the three large networks of 376 inputs alone (DDPG
HumanoidStandup, TD3 and SAC Humanoid). Half of the units pruned: 0.56 to 0.97. Energy: no counter could be read on this
machine. The timings had a core to themselves while other work ran on the second.
""",
    "ivanov2024_pendulum": """
On the smallest task that SAC solves, one training seed: 95 % of the weights cut while SAC learns cost nothing (-163.1,
dense -162.6); cut after the training they cost the policy (-1,502.6 with the rest refitted, -1,207.9 with 600 steps of
imitation too). A small student of the dense policy is as good in 118 bytes, a seventieth of the sparse one's 8,204, but
imitation played about 10,000 states for it, more than twice the 4,000 steps of the training. The paper's curves are of
Hopper and HalfCheetah, of which this says nothing.
""",
    "ivanov2024_hopper": """
One training seed of the paper's Hopper, a tenth of its steps (100,000 of a million): at equal steps the policy whose
weights are cut to 5 % while it learns returns 512, the dense one 1,383. Cut to as much after the training that one
returns 139, and 115 with 4,000 steps of imitation (another 46,000 states of the environment). What beats both is a
small student of the dense policy: 16 units, 302 bytes, 1,000 steps of imitation that play another 14,000 states,
2,529, which is 1.8 times its teacher; one that imitates longer (188,500 states) returns no more than the teacher did,
1,485. So early in the training a student passes its teacher by not following it closely, which says little of a
teacher that is trained out; and one seed says whether, not how much: at 90,000 steps the dense policy returned 447.
""",
    "ivanov2024_dqn": """
No: of DQN on CartPole (256-256 units, 50,000 steps) nothing useful is left at 95 % sparsity and 8 bits, whether the
weights are cut while it learns (42 to 119 of 500 on three trainings, spread over the layers by Erdős-Rényi or alike)
or afterwards with 4,000 steps of imitation (55 and 146). The dense policies return 500 on both seeds, and their
students of 16 units, 114 weights in 151 bytes, 495: a thirtieth of the weights that the sparse policies have, but
all of one small network, and by 18,000 steps of imitation, which play some three times the states of the training.
A Q-network's values lie close together here: 8 bits alone leave one seed 140. And a training of this length goes up and
down (the first dense one returned 500 after 20,000 steps, 236 after 40,000), so that a single last policy says
whether, not how much. This is not Atari, where the paper's DQN learned.
""",
    "ivanov2024": """
Down to 2 % of the weights where they are cut while the policy is trained: three policies of six surely keep their
return at 98 % sparsity, 70 times smaller, indices counted (SAC Swimmer, DQN LunarLander, DQN Acrobot); SAC Pendulum
keeps it at 95 % and TRPO Hopper at 90 %. Weights are compared between layers there by what they are within their own
(LAMP); by size alone only Acrobot got past 90 %. One cut with half as many steps of training after it keeps the return
on three policies at 80 % and on one at 90 %. Without training half of the weights can go where the others are refitted
to the policy's own observations (SparseGPT), on three of six; by magnitude half is too much already for all but one.
SAC HalfCheetah keeps 90 % for sure at no sparsity (94 % at 80 %, too near for 50 episodes). The paper reaches 99 % with
the reinforcement learner going on meanwhile, here are 8,000 steps of imitation; and a small dense student is smaller
still (`lilliput shrink`).
""",
    "bits": """
Three bits of a weight are enough on five policies of six where GPTQ rounds them against the policy's own
observations, and two on two of them. Rounded to the nearest, with a scale a channel, five policies need six bits at
most. Activations need four bits on three policies, six on five. DQN Acrobot is the exception: its three values lie so
close together that at 7 bits, rounded to the nearest, the policy does nothing any more; that it comes back at 5 bits
is luck.
""",
    "order": """
Yes: training comes last. Prune, quantize to 4 bits, then train keeps 99 % of the return (IQM) at 25 times smaller,
surely on five policies of six (it lost on TRPO Hopper); the same three steps with quantization last keep 28 %, and with
training first 5 %. Without pruning, 4 bits and training after them keep it on all six, 7.6 times smaller. Neither
pruning nor quantizing to 4 bits gets far without training after it.
""",
    "calibration": """
Little for plain ranges, much for methods that refit weights. Over ten draws the retention of static quantization
varies by 0.5 points (standard deviation) with 2,048 of the policy's own observations, 1.3 with 256 and 4.1 with 32;
those of a noisy or random policy do as well, and Gaussian numbers cost four points. GPTQ at 4 bits varies by 4 to 10
points and SparseGPT by 3 to 16, the most on the start of a single episode. Ten episodes a cell decide no verdict,
which is not what was asked. One of 1,452 cells failed: its artifact did not repeat its golden examples, and was not
written.
""",
    "robustness": """
No. Of what keeps 90 % of the return undisturbed, nothing was shown to stand less: all recipes taken together, the
loss that a disturbance adds to that of compression is surely below 5 points for each of the four, and below 3 for
8-bit quantization alone. Of 4 bits too few policies keep the return at all to say. The disturbances are far from
mild: a delay of one step leaves half of the baselines at most a third of their return, compressed or not.
""",
}
"""What the numbers of the page support; to be read again whenever it is printed from other numbers."""

TABLES = (
    "disturbances", "calibration", "ratio", "sparsity", "weight_bits", "activation_bits", "quantization", "pruning",
    "methods", "inference", "memory", "energy", "smallest",
)  # fmt: skip

HEAD = """# Results of the studies

Printed by `python docs/results_studies.py RESULTS` from the records of the
[studies that ship](studies.md#the-studies-that-ship). Retention is the share of the baseline's return above that of the
uniform-random policy, on the same episodes; *kept* means that with 95 % confidence it is at least the share asked for.
The baseline is the policy as loaded, exported and run like every candidate. The whole page of a study (`report.html`)
is written beside its records.
"""

CLAIMS = """### The claims of arXiv 2407.04803

Each claim is a number a policy, positive where the policy speaks for it; the mean over policies with its 95 %
t-interval decides, and fewer than three policies decide nothing. They are answered by the policies of
[lu2024](#lu2024).
"""


def text(results: Path) -> str:
    """The page."""
    parts = [HEAD.strip()]
    for name in ORDER:
        folder = results / name
        if (folder / "plan.json").is_file():
            rows, section = _section(name, folder)
            parts += [*section, CLAIMS.strip(), _claims(rows)] if name == "lu2024" else section
    return "\n\n".join(parts) + "\n"


def _section(name: str, folder: Path) -> tuple[Sequence[Row], list[str]]:
    plan, found = read_plan(folder), list(records(folder))
    missing = len(plan["cells"]) + len(plan["timings"]) - len(found)
    if missing:
        raise SystemExit(f"{folder}: {missing} cells have no record yet")
    rows = summary.rows(found, plan["keep"])
    known = {table.name: table for table in study_tables.tables(rows, plan["keep"], "lu2024")}
    decided = any(verdict_of(row) == "kept" for row in rows)
    left_out = () if decided else ("smallest",)
    shown = [
        known[key].markdown().strip()
        for key in TABLES
        if key in known and key not in left_out and len(known[key].body) <= 25
    ]
    best = (
        guidelines.markdown(guidelines.guidelines(rows, "lu2024"), plan["keep"]).split("\n\n")[0]
        if decided and len(known["smallest"].body) <= 12
        else ""
    )
    if name in ("ivanov2024_pendulum", "ivanov2024_hopper", "ivanov2024_dqn"):
        shown, best = [_each(rows)], ""
    answer = [ANSWERS[name].strip()] if name in ANSWERS else []
    asked = f"*{QUESTIONS[name]}* [The study](studies.md#{name})"
    return rows, [
        f"## {name}",
        asked,
        _conditions(rows, found, plan["keep"]),
        *answer,
        *shown,
        *([best] if best else []),
    ]


def _conditions(rows: Sequence[Row], found: Sequence[Record], keep: float) -> str:
    """Policies, cells, episodes and where it was measured, in a sentence or two."""
    policies = {row.policy: dict(row.names) for row in rows if row.names}
    tasks = sorted({row.environment for row in rows})
    cells = {
        status: sum(record.status == status for record in found) for status in ("done", "not_applicable", "failed")
    }
    episodes = sorted({row.n_episodes for row in rows if row.n_episodes})
    seeds = len({row.compression_seed for row in rows if row.recipe})
    draws = f", {seeds} compression seeds" if seeds > 1 else ""
    here = next(m.conditions for record in found for m in record.measurements)
    counts = f"{cells['done']} cells measured, {cells['failed']} failed, {cells['not_applicable']} with nothing to do"
    played = f"{', '.join(map(str, episodes))} episodes a cell{draws}; keep {keep:g}"
    place = f"{here.processor}, {here.n_cores} cores, {here.operating_system}, Python {here.python}"
    return f"{len(policies)} policies in {len(tasks)} environments; {counts}; {played}; seed 0. {place}."


def _each(rows: Sequence[Row]) -> str:
    """Every policy of a small study, as it was trained and compressed, with the 95 % t-interval of its mean."""
    lines = ["| trained | compressed afterwards | bytes | weights not 0 | return [95 %] |", "|---|---|--:|--:|--:|"]
    for row in rows:
        if row.mean_return is None or row.sd_return is None or row.model_bytes is None:
            continue
        margin = student_t_quantile(0.975, row.n_episodes - 1) * row.sd_return / row.n_episodes**0.5
        recipe = f"`{row.recipe}`".replace("|", "\\|") if row.recipe else "-"
        found = f"{row.mean_return:,.1f} [{row.mean_return - margin:,.1f}, {row.mean_return + margin:,.1f}]"
        name = dict(row.names).get("source", row.policy[:8])
        lines.append(f"| {name} | {recipe} | {row.model_bytes:,} | {row.n_nonzero_parameters:,} | {found} |")
    return "\n".join(lines)


def _claims(rows: Sequence[Row]) -> str:
    lines = ["| claim | here it | mean [95 %] | policies | measured as |", "|---|---|---|---:|---|"]
    for claim in guidelines.claims(rows):
        measure = f"{claim.measure}; {claim.note}"
        cells = (claim.text, claim.answer, guidelines.interval_text(claim.interval), str(claim.n_policies), measure)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ", ".join(ORDER)
    told = f"the folder that holds a folder of each study that ran, by its name: {names}"
    arguments.add_argument("results", metavar="RESULTS", type=Path, help=told)
    given = arguments.parse_args().results
    if not any((given / name / "plan.json").is_file() for name in ORDER):
        arguments.error(f"{given} holds none of these studies; it is {told}")
    print(text(given), end="")
