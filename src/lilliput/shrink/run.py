"""The whole command: search, confirmation on unseen episodes, the artifact and its evidence."""

import functools
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np

from lilliput import child_process
from lilliput.compiler import has_compiler
from lilliput.errors import LilliputError
from lilliput.files import locked
from lilliput.policies import file as policy_file
from lilliput.policies.artifact import name_for
from lilliput.policies.compress.distill_images import can_train_images
from lilliput.policies.compress.distill_play import MOST_SQUARES, can_be_taught, sees_a_vector
from lilliput.policies.export import export
from lilliput.policies.learner import Checkpoint, checkpoint_of
from lilliput.policies.policy import Policy
from lilliput.shrink import confirm, objective
from lilliput.shrink.bar import Bar
from lilliput.shrink.baseline import bar_of
from lilliput.shrink.request import Place, Request, claim
from lilliput.shrink.result import Result, frontier, read_result, table, write_result
from lilliput.shrink.schedule import Schedule, least, schedule, too_few
from lilliput.shrink.search import search
from lilliput.shrink.searched import Ended, Searched
from lilliput.shrink.teachers import best, decided, distinct, taught
from lilliput.shrink.trial import Trial, known, made, policy_path
from lilliput.shrink.workers import Workers, workers
from lilliput.statistics import is_above_random, retention, worst_decile
from lilliput.study.environment import behind
from lilliput.study.observations import digest_of, keep_observations
from lilliput.study.policies import POLICIES
from lilliput.study.run import artifact_name
from lilliput.study.workspace import Workspace, enter
from lilliput.sums import mean

Say = Callable[[str], None]

_COMPARING_S = 5.0
"""For the figures of the result beside the baseline's, measured when nothing else runs."""

_ALONE = (
    "a policy without its checkpoint tells students neither what an error costs (critic) nor how exact an action is "
    "(spread): give what lilliput.load_checkpoint gives, where its file has them"
)

_NOTHING_LEFT = "the search ended before its time: nothing that is left to try promises to be smaller and to hold"
_TOO_SLOW = (
    "the search ended before its time: what promises more would not have been made and played in what was left of it; "
    "give more time (--within)"
)
_ENDED: Mapping[Ended, Sequence[str]] = {"time": (), "nothing_left": (_NOTHING_LEFT,), "too_slow": (_TOO_SLOW,)}


def shrink(
    policy: Policy | Checkpoint,
    request: Request,
    folder: Path,
    say: Say,
    *,
    teachers: Sequence[Policy | Checkpoint] = (),
    observations: np.ndarray | None = None,
    force: bool = False,
    started: float | None = None,
) -> Result:
    """The smallest policy that was confirmed to keep its return; artifact, policy and records stand in the folder.

    Interrupted, the same call goes on: finished trials are not repeated, and an order of confirmation once fixed stays.

    Args:
        policy: to make small; of a checkpoint students learn by its critic and its spread of actions too.
        request: what of it is to be kept, where, and what may be spent.
        folder: new, or of this request.
        say: told of what goes on.
        teachers: others that play the same. The return of the best of all is to be kept; students may be of each.
        observations: raw ones to calibrate on, instead of episodes.
        force: begin anew in the folder of any shrink, and use a folder that holds something else.
        started: when the time began, in `time.time()` seconds; None: now.

    Raises:
        LilliputError: the environment does not fit the policy, the policy is not better than random there, or the
            folder is another's or in use, or the teachers do not see the same.
    """
    started = time.time() if started is None else started
    child_process.refuse_unguarded()
    subjects = (policy, *teachers)
    every = distinct(tuple(map(checkpoint_of, subjects)), request.task)
    if request.train and any(isinstance(one, Policy) and not one.is_discrete for one in subjects):
        say(_ALONE)
    given = "" if observations is None else digest_of(observations)
    request = replace(request, task=behind(policy.provenance, request.task), observations=given)
    objective.check_target(request)
    here = enter(folder, "shrink", force=force)
    with locked(folder):
        if force and here.request.exists():
            here.clear_shrink()
        if observations is not None:
            keep_observations(folder, observations)
        return _shrink(every, request, here, say, started)


def _shrink(every: Sequence[Checkpoint], request: Request, here: Workspace, say: Say, started: float) -> Result:
    """The same in a folder that is nobody else's."""
    kept = best(Place(here.folder, every[0].digest, request), every, say)
    policy, others = kept.policy, tuple(one for one in every if one is not kept)
    claim(here, policy, others, request)
    if here.result.exists():
        say(f"{here.folder} was finished before, and this is its result; --force or another folder searches anew")
        return read_result(here.result)
    for one in every:
        POLICIES.keep(one, here)
    request, notes = _trainable(policy, request)
    place = Place(here.folder, policy.digest, request, tuple(one.digest for one in others))
    until = started + request.within_s - 3 - (_COMPARING_S if objective.names(request) else 0)
    with workers(request.workers) as processes:
        with ThreadPoolExecutor(1) as beside:  # a compiler takes its time, and at the end there may be none
            exported = beside.submit(_export, place, "")
            bar, episode_s = bar_of(place, processes, until)
            exported.result()
        notes += _worth_keeping(request, bar, episode_s)
        times = schedule(place, bar, episode_s, started, until)
        searched = search(kept, place, times.bar, processes, times.end, say, others)
        confirmation = _confirmed(place, searched, processes, times, say)
    notes += _ENDED[searched.ended]
    notes += confirmation.notes
    figures, told = _compared(place, searched, confirmation.accepted)
    notes += told if confirmation.accepted else _why_nothing(place, searched, confirmation.outcomes)
    schools = taught(every, kept, searched, confirmation.accepted[0] if confirmation.accepted else None)
    notes += [one.sentence for one in schools]
    result = _result(policy, request, searched, confirmation, notes, figures, time.time() - started)
    result = replace(result, teachers=schools)
    _finish(place, policy, result)
    return result


def _trainable(policy: Policy, request: Request) -> tuple[Request, list[str]]:
    """The request, without training where that is not possible here, and what to say of it."""
    images = can_be_taught(policy)
    if request.train and not images and not sees_a_vector(policy):
        note = (
            f"no students were tried: they see vectors, boards of up to {MOST_SQUARES:,} numbers or, choosing through "
            "convolutions, images of bytes"
        )
        return request, [note]
    if request.train and images and not can_train_images():
        note = "without torch only what needs no training was tried: pip install 'lilliput[train]'"
        return replace(request, train=False), [note]
    if not request.train or has_compiler():
        return request, []
    note = "without a C compiler only what needs no training was tried: apt install gcc"
    return replace(request, train=False), [note]


def _worth_keeping(request: Request, bar: Bar, episode_s: float) -> list[str]:
    """What to say of the return that is to be kept.

    Raises:
        LilliputError: there is none: the policy is not better than a random one.
    """
    if too_few(bar):
        return [
            (
                f"an episode takes {episode_s:.2g} s, and only {len(bar.baseline)} were played to learn what is to be "
                f"kept: give more time, {least(episode_s, request):,.0f} s or more (--within with --force)"
            )
        ]
    if not is_above_random(bar.baseline, bar.random, confidence=0.95, rng=np.random.default_rng(request.seed)):
        raise LilliputError(
            f"the policy returns {mean(bar.baseline):.6g} in {request.task.id} "
            f"and a random one {mean(bar.random):.6g}: "
            "there is no return to keep; is it the environment that it was trained on?"
        )
    return []


@final
@dataclass(frozen=True, eq=False)
class _Confirmation:
    """How each finalist did, the one that was accepted, and what the user should know."""

    outcomes: Mapping[str, str]
    accepted: tuple[Trial, confirm.Confirmed] | None
    notes: tuple[str, ...]


def _confirmed(place: Place, searched: Searched, processes: Workers, times: Schedule, say: Say) -> _Confirmation:
    """What the finalists of the search did on episodes that it never saw.

    Raises:
        LilliputError: the order was fixed before, for what is not made any more.
    """
    request, until = place.request, times.until
    order = confirm.fixed(place, confirm.finalists(searched) or confirm.likeliest(searched))
    stale = [recipe for recipe in order if recipe not in searched.trials]
    if stale:
        raise LilliputError(
            f"{place.here.confirmation} was fixed for what other versions of steps or packages made ({stale[0]}); "
            "choose another folder or give --force"
        )
    order, notes = _shippable(place, order)
    trials = [searched.trials[recipe] for recipe in order]
    playing = confirm.player(place, order, processes, until)

    def play(index: int, seeds: Sequence[int]) -> np.ndarray:
        _export(place, order[index])
        return playing(index, seeds)

    outcomes: dict[str, str] = {}
    accepted = None
    pace = 3 * times.episode_s / request.workers
    seeds = functools.partial(confirm.seeds_of, request.seed)
    chain = confirm.chain(confirm.plans(trials, searched.bar), seeds, play, until, pace=pace)
    for trial, confirmed in zip(trials, chain, strict=False):
        outcomes[trial.recipe] = confirmed.outcome
        say(
            f"{trial.model_bytes:,} bytes {confirmed.outcome}: {100 * confirmed.estimate:.1f} % "
            f"on {confirmed.returns.shape[1]} unseen episodes, at least {100 * confirmed.low:.1f} %: {trial.recipe}"
        )
        if confirmed.outcome == "undecided" and confirmed.episodes_needed is not None:
            notes.append(
                f"undecided after {confirmed.returns.shape[1]} episodes, "
                f"{confirmed.episodes_needed} would decide; give more time in a new folder: {trial.recipe}"
            )
        if confirmed.outcome == "accepted":
            accepted = (trial, confirmed)
    if order and not outcomes:
        notes.append(f"no time was left to confirm what looked good: give more (--within with --force): {order[0]}")
    return _Confirmation(outcomes, accepted, tuple(notes))


def _compared(
    place: Place, searched: Searched, accepted: tuple[Trial, confirm.Confirmed] | None
) -> tuple[tuple[tuple[str, float, float], ...], list[str]]:
    """Quantity, its value before and after, of what was asked for; and what to say of the limits."""
    if accepted is None:
        return (), []
    request, (trial, _) = place.request, accepted
    figures = objective.compared(request, _artifact(place, ""), _artifact(place, trial.recipe))
    if request.objective == "n_macs":
        figures = (("n_macs", searched.trials[""].value, trial.value), *figures)
    limits = objective.limits(request)
    return figures, [
        f"{name} is {objective.written(after)}, the limit {objective.written(limits[name])}"
        for name, _, after in figures
        if name in limits
    ]


def so_far(policies: Sequence[Checkpoint], request: Request, folder: Path) -> str:
    """The frontier of what was tried until now, as text."""
    policy = (decided(Workspace(folder), policies) or policies[0]).policy
    place = Place(folder, policy.digest, request)
    trials, random = known(place)
    if "" not in trials or not len(random):
        return "nothing was tried yet"
    n = min(len(random), len(trials[""].returns))
    bar = Bar(trials[""].returns[:n], random[:n], request.keep)
    return table(frontier(Searched(trials, bar), {}), policy.model_bytes, request.objective)


def _artifact(place: Place, recipe: str) -> Path:
    """Where the artifact of that recipe stands: where the study's cells look for it."""
    return place.here.artifacts / artifact_name(confirm.cells(place, recipe, (0,))[0])


def _shippable(place: Place, order: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those of the finalists that can be exported, in their order, and why the others cannot."""
    found: list[str] = []
    notes: list[str] = []
    for recipe in order:
        try:
            _export(place, recipe)
        except LilliputError as error:
            notes.append(f"not confirmed, since it cannot be exported: {recipe}: {error}")
        else:
            found.append(recipe)
    return found, notes


def _export(place: Place, recipe: str) -> None:
    """Put the artifact at its place."""
    path = _artifact(place, recipe)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        export(made(place, recipe, None), place.request.format, path, name=name_for(place.folder))


def _why_nothing(place: Place, searched: Searched, outcomes: Mapping[str, str]) -> list[str]:
    """What the user should know where the policy stays as it was."""
    notes = []
    tried = [trial for trial in searched.trials.values() if trial.recipe]
    if not any(len(trial.returns) for trial in tried):
        # Of a baseline of too few episodes it was said already how much time is needed.
        more = "" if too_few(searched.bar) else ": give more time (--within with --force)"
        notes.append(f"no candidate was played within {place.request.within_s:g} s{more}")
    played = [trial for trial in tried if trial.may_win and len(trial.returns)]
    if played and not outcomes:
        best = max(played, key=lambda trial: searched.bar.sure(trial.returns))
        estimate, error = searched.bar.retention(best.returns)
        notes.append(
            f"nothing was likely enough to hold to be confirmed; the likeliest kept {100 * estimate:.1f} % (±"
            f"{200 * error:.1f}) on {len(best.returns)} episodes: give more time (--within) or keep less (--keep)"
        )
    broken = searched.trials[""].broken
    if broken:
        notes.append(f"the policy as it was does not keep to the limits: {broken}")
        smallest = min((trial for trial in tried if trial.returns.size), key=lambda t: t.model_bytes, default=None)
        if smallest is not None and smallest.broken:
            notes.append(f"nor does the smallest that was tried: {smallest.broken}")
    return notes


def _result(
    policy: Policy,
    request: Request,
    searched: Searched,
    confirmation: _Confirmation,
    notes: Sequence[str],
    figures: tuple[tuple[str, float, float], ...],
    seconds: float,
) -> Result:
    points = frontier(searched, confirmation.outcomes)
    n_trials = sum(1 for trial in searched.trials.values() if trial.recipe)
    if confirmation.accepted is None:
        size, worst = policy.model_bytes, worst_decile(searched.bar.baseline)
        return Result(
            size, size, 1.0, 1.0, 1.0, "", worst, worst, 0, n_trials, seconds, tuple(notes), points,
            objective=request.objective, target=request.target,
        )  # fmt: skip
    trial, confirmed = confirmation.accepted
    candidate, baseline, random = confirmed.returns
    interval = retention(candidate, baseline, random, rng=np.random.default_rng(0))
    return Result(
        baseline_bytes=policy.model_bytes,
        bytes=trial.model_bytes,
        retention=confirmed.estimate,
        low=confirmed.low,
        high=interval.high if interval is not None else confirmed.estimate,
        recipe=trial.recipe,
        worst_decile=worst_decile(confirmed.returns[0]),
        baseline_worst_decile=worst_decile(confirmed.returns[1]),
        n_episodes=confirmed.returns.shape[1],
        n_trials=n_trials,
        seconds=seconds,
        notes=tuple(notes),
        frontier=points,
        figures=figures,
        objective=request.objective,
        target=request.target,
    )


def _finish(place: Place, policy: Policy, result: Result) -> None:
    """Put artifact, policy and result in the folder, and remove what was only needed on the way."""
    here = place.here
    shutil.rmtree(here.small_artifact, ignore_errors=True)
    shutil.copytree(_artifact(place, result.recipe), here.small_artifact)
    small = policy_file.read(policy_path(place, result.recipe)) if result.recipe else policy
    policy_file.write(small, here.small_policy, force=True)
    shutil.rmtree(here.work, ignore_errors=True)
    write_result(result, here.result)
