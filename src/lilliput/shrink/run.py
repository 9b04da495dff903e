"""The whole command: search, confirmation on unseen episodes, the artifact and its evidence."""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lilliput.compiler import has_compiler
from lilliput.errors import LilliputError
from lilliput.files import Format
from lilliput.policies import policy as policy_file
from lilliput.policies.policy import Policy
from lilliput.shrink import confirm, objective
from lilliput.shrink.request import Place, Request
from lilliput.shrink.result import Result, frontier, read, table, write
from lilliput.shrink.search import Searched, bar_of, search
from lilliput.shrink.teachers import best, decided, distinct, taught
from lilliput.shrink.trial import RACE, Bar, Trial, known, made, policy_path
from lilliput.shrink.workers import workers
from lilliput.statistics import is_above_random, plan_confirmation, retention, worst_decile
from lilliput.study.environment import behind
from lilliput.study.observations import digest_of, keep_observations
from lilliput.study.policies import POLICIES
from lilliput.study.run import artifact_name
from lilliput.study.workspace import Workspace, enter, locked
from lilliput.sums import mean

Say = Callable[[str], None]

_STARTING_S = 15.0
_COMPARING_S = 5.0
"""For the figures of the result beside the baseline's, measured when nothing else runs."""
_LEAST_PART = 0.15
"""Of the time, for the confirmation."""
_CONFIRMING = 1.2 * 3
"""Seconds of a confirmed episode over those of a selection episode: baseline and random policy play each as well."""

REQUEST = Format("request", 1, {0: dict})
"""Of the file that says what was asked. 1: policy, environment and what must not change; 0: without a version."""


def shrink(
    policy: Policy,
    request: Request,
    folder: Path,
    say: Say,
    *,
    teachers: Sequence[Policy] = (),
    observations: np.ndarray | None = None,
    force: bool = False,
) -> Result:
    """The smallest policy that was confirmed to keep its return; artifact, policy and records stand in the folder.

    Interrupted, the same call goes on: finished trials are not repeated, and an order of confirmation once fixed stays.

    Args:
        policy: to make small.
        request: what of it is to be kept, where, and what may be spent.
        folder: new, or of this request.
        say: told of what goes on.
        teachers: others that play the same. The return of the best of all is to be kept; students may be of each.
        observations: raw ones to calibrate on, instead of episodes.
        force: begin anew in the folder of any shrink, and use a folder that holds something else.

    Raises:
        LilliputError: the environment does not fit the policy, the policy is not better than random there, or the
            folder is another's or in use, or the teachers do not see the same.
    """
    started = time.time()
    every = distinct((policy, *teachers), request.task)
    given = "" if observations is None else digest_of(observations)
    request = replace(request, task=behind(policy, request.task), observations=given)
    here = enter(folder, "shrink", force=force)
    with locked(folder):
        if force and here.request.exists():
            here.clear_shrink()
        if observations is not None:
            keep_observations(folder, observations)
        return _shrink(every, request, here, say, started)


def _shrink(every: Sequence[Policy], request: Request, here: Workspace, say: Say, started: float) -> Result:
    """The same in a folder that is nobody else's."""
    folder = here.folder
    policy = best(Place(folder, every[0].digest, request), every, say)
    others = tuple(one for one in every if one is not policy)
    _enter(here, policy, others, request)
    if here.result.exists():
        say(f"{folder} was finished before, and this is its result; --force or another folder searches anew")
        return read(here.result)
    for one in every:
        POLICIES.keep(one, here)
    place = Place(folder, policy.digest, request, tuple(one.digest for one in others))
    notes: list[str] = []
    if request.train and not has_compiler():
        notes.append("without a C compiler only what needs no training was tried: apt install gcc")
        request = Request(**{**vars(request), "train": False})
        place = replace(place, request=request)
    finished = started + request.within_s - 3 - (_COMPARING_S if objective.names(request) else 0)
    with workers(request.workers) as processes:
        bar, episode_s = bar_of(place, processes, finished)
        rng = np.random.default_rng(request.seed)
        too_few = len(bar.baseline) < RACE[0]
        if too_few:
            notes.append(
                f"an episode takes {episode_s:.2g} s, and only {len(bar.baseline)} were played to learn what is to be "
                f"kept: give more time, {_least(episode_s, request):,.0f} s or more (--within)"
            )
        elif not is_above_random(bar.baseline, bar.random, confidence=0.95, rng=rng):
            raise LilliputError(
                f"the policy returns {mean(bar.baseline):.6g} in {request.task.id} "
                f"and a random one {mean(bar.random):.6g}: "
                "there is no return to keep; is it the environment that it was trained on?"
            )
        closed = here.confirmation.exists()
        confirming = 0.0 if too_few else _at_first(request, bar, episode_s)
        bar = replace(bar, episodes=_affordable(confirming, request, episode_s))

        def end(so_far: Searched) -> float:
            if closed or too_few:
                return started
            return finished - _reserve(so_far, request, confirming, episode_s)

        searched = search(policy, place, bar, processes, end, say, others)
        order = confirm.fixed(place, confirm.finalists(searched) or confirm.likeliest(searched))
        stale = [recipe for recipe in order if recipe not in searched.trials]
        if stale:
            raise LilliputError(
                f"{here.confirmation} was fixed for what other versions of steps or packages made ({stale[0]}); "
                "choose another folder or give --force"
            )
        trials = [searched.trials[recipe] for recipe in order]
        outcomes: dict[str, str] = {}
        confirmed = None
        _export(place, "")
        playing = confirm.player(place, order, processes, finished)

        def play(index: int, seeds: Sequence[int]) -> np.ndarray:
            _export(place, order[index])
            return playing(index, seeds)

        plans = confirm.plans(trials, searched.bar)
        for trial, found in zip(
            trials,
            confirm.chain(plans, confirm.seeds_of(request.seed), play, finished, pace=3 * episode_s / request.workers),
            strict=False,
        ):
            outcomes[trial.recipe] = found.outcome
            say(
                f"{trial.model_bytes:,} bytes {found.outcome}: {100 * found.estimate:.1f} % "
                f"on {found.returns.shape[1]} unseen episodes, at least {100 * found.low:.1f} %: {trial.recipe}"
            )
            if found.outcome == "undecided" and found.episodes_needed is not None:
                notes.append(
                    f"undecided after {found.returns.shape[1]} episodes, "
                    f"{found.episodes_needed} would decide; give more time in a new folder: {trial.recipe}"
                )
            if found.outcome == "accepted":
                confirmed = (trial, found)
        if order and not outcomes:
            notes.append(f"no time was left to confirm what looked good: give more (--within): {order[0]}")
    figures: tuple[tuple[str, float, float], ...] = ()
    if confirmed is None:
        notes += _why_nothing(place, searched, outcomes)
    else:
        figures = objective.compared(request, _artifact(place, ""), _artifact(place, confirmed[0].recipe))
        if request.objective == "n_macs":
            figures = (("n_macs", searched.trials[""].value, confirmed[0].value), *figures)
        limits = objective.limits(request)
        notes += [
            f"{name} is {objective.written(after)}, the limit {objective.written(limits[name])}"
            for name, _, after in figures
            if name in limits
        ]
    schools = taught(every, policy, searched, confirmed[0] if confirmed is not None else None)
    notes += [one.sentence for one in schools]
    result = _result(policy, searched, confirmed, outcomes, notes, figures, time.time() - started)
    result = replace(result, teachers=schools)
    _finish(place, policy, result)
    return result


def _enter(here: Workspace, policy: Policy, others: Sequence[Policy], request: Request) -> None:
    """Holds the folder for this request, which may take another time and other workers.

    Raises:
        LilliputError: it holds the results of another request.
    """
    from lilliput.study.policies import episode_settings

    asked = {
        "policy": policy.digest,
        "teachers": sorted(one.digest for one in others) or None,
        "environment": request.task.id,
        "environment_kwargs": request.task.kwargs,
        "keep": request.keep,
        "objective": request.objective,
        "format": request.format,
        "seed": request.seed,
        "target": request.target,
        "max_steps": dict(episode_settings(request.max_steps)).get("max_steps"),
        "limits": [request.max_flash, request.max_ram, request.deadline_s],
        "observations": request.observations or None,
    }
    if not here.request.exists():
        REQUEST.write(here.request, asked)
        return
    found = REQUEST.read(here.request)
    different = [name for name, value in asked.items() if found.get(name) != value]
    if different:
        what = ", ".join(f"{name} {found.get(name)!r}" for name in different)
        raise LilliputError(f"{here.folder} holds a shrink of {what}; choose another folder or give --force")


def so_far(policies: Sequence[Policy], request: Request, folder: Path) -> str:
    """The frontier of what was tried until now, as text."""
    policy = decided(Workspace(folder), policies) or policies[0]
    place = Place(folder, policy.digest, request)
    trials, random = known(place)
    if "" not in trials or not len(random):
        return "nothing was tried yet"
    n = min(len(random), len(trials[""].returns))
    bar = Bar(trials[""].returns[:n], random[:n], request.keep)
    return table(frontier(Searched(trials, bar), {}), policy.model_bytes)


def _least(episode_s: float, request: Request) -> float:
    """Seconds within which something may be found where episodes are slow: baseline, trials and a confirmation."""
    return (RACE[0] * 4 + 3 * confirm.SHOWN_EPISODES) * episode_s / request.workers


def _at_first(request: Request, bar: Bar, episode_s: float) -> float:
    """Seconds kept for the confirmation of two finalists as long as none is known."""
    plan = plan_confirmation(
        bar.baseline,
        bar.baseline,
        bar.random,
        request.keep,
        max_episodes=confirm.MOST_EPISODES,
        alpha=confirm.ALPHA / 3,
    )
    # Twice what a candidate as good as the baseline takes, for each of three: one that keeps a little less is smaller.
    episodes = 6 * (plan.episodes_needed or confirm.MOST_EPISODES) + 60
    confirming = _STARTING_S + _CONFIRMING * episodes * episode_s / request.workers
    return min(max(confirming, _LEAST_PART * request.within_s), 0.4 * request.within_s)


def _reserve(searched: Searched, request: Request, confirming: float, episode_s: float) -> float:
    """Seconds kept for the confirmation of what would be the first two finalists now, if they go on as they did."""
    episodes = confirm.foreseen(searched)
    if not episodes:
        return confirming
    seconds = _STARTING_S + 1.2 * _CONFIRMING * episodes * episode_s / request.workers
    return min(max(seconds, _LEAST_PART * request.within_s), 0.4 * request.within_s)


def _affordable(confirming: float, request: Request, episode_s: float) -> int:
    """Episodes that the first finalist can play: half of the time is its own."""
    episodes = (confirming - _STARTING_S) / 2 * request.workers / (_CONFIRMING * episode_s)
    return int(min(max(episodes, 4 * confirm.BLOCK), confirm.MOST_EPISODES))


def _artifact(place: Place, recipe: str) -> Path:
    """Where the artifact of that recipe stands: where the study's cells look for it."""
    return place.here.artifacts / artifact_name(confirm.cells(place, recipe, (0,))[0])


def _export(place: Place, recipe: str) -> None:
    """Put the artifact at its place."""
    from lilliput.policies.artifact import name_for
    from lilliput.policies.export import export

    path = _artifact(place, recipe)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        export(made(place, recipe, None), place.request.format, path, name=name_for(place.folder))


def _why_nothing(place: Place, searched: Searched, outcomes: dict[str, str]) -> list[str]:
    """What the user should know where the policy stays as it was."""
    found = []
    tried = [trial for trial in searched.trials.values() if trial.recipe]
    if not any(len(trial.returns) for trial in tried):
        found.append(f"nothing was played within {place.request.within_s:g} s: give more time (--within)")
    played = [trial for trial in tried if trial.may_win and len(trial.returns)]
    if played and not outcomes:
        best = max(played, key=lambda trial: searched.bar.sure(trial.returns))
        estimate, error = searched.bar.retention(best.returns)
        found.append(
            f"nothing was likely enough to hold to be confirmed; the likeliest kept {100 * estimate:.1f} % (±"
            f"{200 * error:.1f}) on {len(best.returns)} episodes: give more time (--within) or keep less (--keep)"
        )
    broken = searched.trials[""].broken
    if broken:
        found.append(f"the policy as it was does not keep to the limits: {broken}")
        smallest = min((trial for trial in tried if trial.returns.size), key=lambda t: t.model_bytes, default=None)
        if smallest is not None and smallest.broken:
            found.append(f"nor does the smallest that was tried: {smallest.broken}")
    return found


def _result(
    policy: Policy,
    searched: Searched,
    confirmed: "tuple[Trial, confirm.Confirmed] | None",
    outcomes: dict[str, str],
    notes: list[str],
    figures: tuple[tuple[str, float, float], ...],
    seconds: float,
) -> Result:
    points = frontier(searched, outcomes)
    n_trials = sum(1 for trial in searched.trials.values() if trial.recipe)
    if confirmed is None:
        size, worst = policy.model_bytes, worst_decile(searched.bar.baseline)
        return Result(size, size, 1.0, 1.0, 1.0, "", worst, worst, 0, n_trials, seconds, tuple(notes), points)
    trial, found = confirmed
    candidate, baseline, random = found.returns
    interval = retention(candidate, baseline, random, rng=np.random.default_rng(0))
    return Result(
        baseline_bytes=policy.model_bytes,
        bytes=trial.model_bytes,
        retention=found.estimate,
        low=found.low,
        high=interval.high if interval is not None else found.estimate,
        recipe=trial.recipe,
        worst_decile=worst_decile(found.returns[0]),
        baseline_worst_decile=worst_decile(found.returns[1]),
        n_episodes=found.returns.shape[1],
        n_trials=n_trials,
        seconds=seconds,
        notes=tuple(notes),
        frontier=points,
        figures=figures,
    )


def _finish(place: Place, policy: Policy, result: Result) -> None:
    """Put artifact, policy and result in the folder, and remove what was only needed on the way."""
    here = place.here
    shutil.rmtree(here.small_artifact, ignore_errors=True)
    shutil.copytree(_artifact(place, result.recipe), here.small_artifact)
    small = policy_file.read(policy_path(place, result.recipe)) if result.recipe else policy
    policy_file.write(small, here.small_policy, force=True)
    shutil.rmtree(here.work, ignore_errors=True)
    write(result, here.result)
