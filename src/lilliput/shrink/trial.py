"""One trial: a recipe applied, its policy kept, and its return on selection episodes, of which a loser plays few."""

import contextlib
import functools
import hashlib
import itertools
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float64

from lilliput import record as record_file
from lilliput.errors import LilliputError, MissingDependency, NotApplicable
from lilliput.measurement import Measurement
from lilliput.policies import file as policy_file
from lilliput.policies import reference
from lilliput.policies.compress import Context, compress, format_recipe, parse
from lilliput.policies.compress.context import Abandoned
from lilliput.policies.play import (
    EnvironmentSpec,
    Lockstep,
    OutOfTime,
    RandomPolicy,
    SameAct,
    SeedPlan,
    Stage,
)
from lilliput.policies.policy import Policy
from lilliput.record import RANDOM_POLICY, REFERENCE, Cell, Record
from lilliput.shrink import objective
from lilliput.shrink.actor import acting, format_of, has_convolutions
from lilliput.shrink.bar import BLOCK, RACE, Bar
from lilliput.shrink.request import Place, Request
from lilliput.study.observations import kept_observations
from lilliput.study.policies import POLICIES, episode_settings
from lilliput.study.version import versions

SELECTION = "selection"
_FIRST_SEED = 4_096
"""Selection seeds from here on judge trials; those before choose among restarts within a step."""

FEW_EPISODES, MOST_EPISODES = 32, 128
"""Selection episodes that the baseline plays, as time allows; a trial plays no more."""
_LEAST_S = 1.0
"""What trials are held against is played so long in any case, however little time was given."""


@final
@dataclass(frozen=True, eq=False)
class Trial:
    """What came out of one recipe.

    Attributes:
        value: of the objective; returns: on the first selection seeds, in order.
        seconds: that it took; reason: why it failed, empty where it did not; step: that it failed in.
        broken: which limits it breaks, empty where it keeps to all of them.
    """

    recipe: str
    value: float
    model_bytes: int
    returns: Float64[np.ndarray, " n"]
    seconds: float
    reason: str = ""
    broken: str = ""
    step: str = ""

    @property
    def may_win(self) -> bool:
        """Whether a recipe made it, and it keeps to the limits."""
        return bool(self.recipe) and not self.reason and not self.broken


def seeds(seed: int, n: int) -> tuple[int, ...]:
    """The seeds that trials are judged on."""
    return SeedPlan(seed).episodes("selection", _FIRST_SEED + n)[_FIRST_SEED:]


def policy_path(place: Place, recipe: str) -> Path:
    """Where the policy of that recipe stands, as the present versions of its steps make it."""
    made_from = json.dumps([recipe, versions(POLICIES, recipe, (), place.request.task, REFERENCE)])
    return place.here.trials / f"{hashlib.sha256(made_from.encode()).hexdigest()[:24]}{policy_file.SUFFIX}"


def attempt(
    place: Place,
    recipe: str,
    until: float,
    bar: Bar | None,
    episodes: int = RACE[-1],
    block: int = BLOCK,
    least: float = -math.inf,
    before: Sequence[float] = (),
) -> Trial:
    """The trial of that recipe, also as a record, unless the time was over before its policy was made and had played.

    Args:
        place: where everything stands.
        recipe: its canonical text.
        until: when to stop, in `time.time()` seconds; whole blocks of episodes that were played by then count.
        bar: what the trial has to reach, so that a loser is dropped early; None: it plays all episodes.
        episodes: to play at most.
        block: how many at a time.
        least: the share of the return that a student with real weights has to keep, or else it is left as it is.
        before: what its first episodes returned when they were played; the others follow.
    """
    start = time.monotonic()
    deadline = start + until - time.time()
    if bar is None:
        deadline = max(deadline, start + _LEAST_S)
    try:
        policy = made(place, recipe, deadline, None if bar is None else functools.partial(_may_keep, bar, least))
    except OutOfTime:
        return _late(recipe, start, "made")
    except Abandoned as error:
        assert bar is not None
        kept, spread = (100 * part for part in bar.retention(error.returns))
        error.args = (f"left before it was quantized: with real weights it keeps {kept:.1f} % (±{2 * spread:.1f})",)
        return replace(_failed(place, recipe, error, start), returns=error.returns)
    except LilliputError as error:
        return _failed(place, recipe, error, start)
    if time.monotonic() > deadline:
        return _late(recipe, start, "made")
    played = play(place, policy, bar, episodes, deadline, block, before)
    if not len(played):
        return _late(recipe, start, "played")
    found = objective.counted(policy)
    if bar is None or not bar.hopeless(played):
        try:
            found += objective.measured(policy, place.request, place.here.work)
        except MissingDependency:
            raise
        except LilliputError as error:
            if bar is None:
                raise
            return _failed(place, recipe, error, start)
    format_ = format_of(policy)
    player = "the reference" if format_ == REFERENCE else f"its {format_} artifact"
    method = f"measured: {place.request.task.id}, played by {player}, one episode a seed"
    record = Record(
        _cell(place, recipe, len(played), format_=format_),
        "done",
        measurements=(Measurement("episode_return", tuple(played), method), *found),
        elapsed_s=round(time.monotonic() - start, 3),
    )
    record_file.write(record, place.here.records)
    return _trial(place.request, record)


def _failed(place: Place, recipe: str, error: LilliputError, start: float) -> Trial:
    status = "not_applicable" if isinstance(error, NotApplicable) else "failed"
    seconds = round(time.monotonic() - start, 3)
    record = Record(_cell(place, recipe, 1), status, str(error), elapsed_s=seconds, step=error.step)
    record_file.write(record, place.here.records)
    return _trial(place.request, record)


def _may_keep(bar: Bar, least: float, returns: Float64[np.ndarray, " n"]) -> bool:
    """Whether what returned this on a few other episodes keeps so much, as far as can be told."""
    estimate, error = bar.retention(returns)
    return estimate + 2 * error >= least


def _late(recipe: str, start: float, what: str) -> Trial:
    reason = f"the time was over before it was {what}"
    return Trial(recipe, np.inf, 0, np.zeros(0), time.monotonic() - start, reason)


def _trial(request: Request, record: Record) -> Trial:
    """What a record tells."""
    recipe, found = record.cell.recipe, record.measurements
    played = np.array(record.values("episode_return"))
    if record.status != "done":
        return Trial(recipe, np.inf, 0, played, record.elapsed_s, record.reason, step=record.step)
    size = int(record.values("model_bytes")[0])
    value, broken = objective.value(request, found), objective.broken(request, found)
    return Trial(recipe, value, size, played, record.elapsed_s, broken=broken)


def made(
    place: Place,
    recipe: str,
    deadline: float | None,
    goes_on: Callable[[Float64[np.ndarray, " n"]], bool] | None = None,
) -> Policy:
    """The policy of the recipe; each step's result is kept, so that recipes that begin alike share their beginning.

    Raises:
        LilliputError: a step cannot be honoured, or does not go on.
    """
    source = policy_file.read_checkpoint(place.here.policy(place.policy_digest))
    request = place.request
    context = Context.from_environment(
        source,
        request.task.id,
        request.seed,
        wrappers=request.task.wrappers,
        environment_kwargs=request.task.kwargs,
        max_steps=request.max_steps,
        observations=kept_observations(place.folder, request.observations),
        work_folder=place.here.work,
        deadline=deadline,
        teachers=tuple(policy_file.read_checkpoint(place.here.policy(digest)) for digest in place.teachers),
    )
    context = replace(context, goes_on=goes_on)
    steps = parse(recipe)
    policy, done = source.policy, 0
    for n in range(len(steps), 0, -1):
        path = policy_path(place, format_recipe(steps[:n]))
        if path.exists():
            policy, done = policy_file.read(path), n
            break
    for n in range(done, len(steps)):
        policy = compress(policy, steps[n : n + 1], context)
        if context.seconds_left > 0:  # what the deadline cut short is not what the recipe makes
            place.here.trials.mkdir(parents=True, exist_ok=True)
            policy_file.write(policy, policy_path(place, format_recipe(steps[: n + 1])), force=True)
    return policy


def play(
    place: Place,
    policy: Policy,
    bar: Bar | None,
    episodes: int,
    deadline: float = math.inf,
    block: int = BLOCK,
    before: Sequence[float] = (),
) -> Float64[np.ndarray, " n"]:
    """The returns on the first selection seeds, so many; fewer where the bar is out of reach or the time is over."""
    played = np.array(before, np.float64)
    every = seeds(place.request.seed, episodes)[len(before) :]
    with contextlib.suppress(OutOfTime):
        for returns in _blocks(place, policy, every, min(block, episodes), deadline):
            played = np.concatenate([played, returns])
            if bar is not None and (bar.hopeless(played) or (episodes <= RACE[-1] and bar.settled(played))):
                break
    return played


def _blocks(
    place: Place, policy: Policy, every: Sequence[int], block: int, deadline: float
) -> Iterator[Float64[np.ndarray, " n"]]:
    """The returns of so many episodes at a time; those under convolutions one after another."""
    environment = _environment(place)
    # What is plainly lost shows in half a block.
    half = block // 2 if block >= BLOCK else block
    starts = (0, *range(half, len(every), block))
    blocks = [every[at:end] for at, end in itertools.pairwise((*starts, len(every)))]
    if has_convolutions(policy):
        with acting(policy) as act, Stage(environment, policy.observation_space, deadline) as stage:
            for some in blocks:
                yield np.array([stage.play(seed, SameAct(act)).episode_return for seed in some])
        return
    lockstep = Lockstep(environment, policy.observation_space, block, iter(every), deadline=deadline)
    rows = reference.Rows(policy)
    try:
        for some in blocks:
            yield lockstep.returns(lambda x: rows(x, lockstep.begins), some)
    finally:
        lockstep.close()


def _environment(place: Place) -> EnvironmentSpec:
    return EnvironmentSpec.of(place.request.task, place.request.max_steps)


def seconds_an_episode(place: Place, until: float) -> float:
    """How long the baseline takes for one, the making of the environment left out.

    Raises:
        OutOfTime: longer than until then, in `time.time()` seconds.
    """
    source = policy_file.read(place.here.policy(place.policy_digest))
    deadline = time.monotonic() + max(_LEAST_S, until - time.time())
    with acting(source) as act, Stage(_environment(place), source.observation_space, deadline) as stage:
        seconds = stage.play(seeds(place.request.seed, 1)[0], SameAct(act)).wall_time_s
    assert seconds is not None  # it was alone
    return seconds


def play_random(place: Place, episodes: int, until: float = math.inf) -> Float64[np.ndarray, " n"]:
    """The random policy's returns on the selection seeds, so many or, in `time.time()` seconds, as many until then."""
    stage = Stage(_environment(place), None, time.monotonic() + max(_LEAST_S, until - time.time()))
    found: list[float] = []
    every = seeds(place.request.seed, episodes)
    with stage, contextlib.suppress(OutOfTime):
        # Two are enough to go on with; of more, none of a block is known before the time is over for all of it.
        for some in (every[:2], *(every[at : at + BLOCK] for at in range(2, len(every), BLOCK))):
            found += [episode.episode_return for episode, _ in stage.play_all(some, RandomPolicy())]
    if not found:
        return np.zeros(0)
    cell = _cell(place, "", len(found), RANDOM_POLICY)
    method = "measured: uniform-random actions"
    record_file.write(
        Record(cell, "done", measurements=(Measurement("episode_return", tuple(found), method),)),
        place.here.records,
    )
    return np.array(found)


def _cell(place: Place, recipe: str, n: int, subject: str = "", format_: str = REFERENCE) -> Cell:
    request = place.request
    quantities = ("episode_return", "model_bytes", "n_macs", *objective.names(request))
    return Cell(
        subject or place.policy_digest,
        recipe,
        request.task,
        seeds(request.seed, n),
        format=format_,
        compression_seed=request.seed,
        quantities=quantities,
        settings=(*episode_settings(request.max_steps), ("role", SELECTION)),
        versions=versions(POLICIES, recipe, quantities, request.task, format_),
    )


def records(folder: Path) -> Iterator[record_file.Record]:
    """Every record of a search.

    Raises:
        LilliputError: one is damaged.
    """
    try:
        yield from record_file.read_all(folder)
    except LilliputError as error:
        raise LilliputError(f"{error}; remove it, and the same command measures that again") from error


def known(place: Place) -> tuple[dict[str, Trial], np.ndarray]:
    """The trials of the policy that the records tell of, by recipe, and the random policy's returns; the longest of
    each.

    Those of other versions of steps, quantities or packages are not what would come out now: they are left out.
    """
    trials: dict[str, Trial] = {}
    random = np.zeros(0)
    folder = place.here.records
    for record in records(folder) if folder.exists() else ():
        if ("role", SELECTION) not in record.cell.settings:
            continue
        played = np.array(record.values("episode_return"))
        recipe = record.cell.recipe
        cell = record.cell
        if cell.versions != versions(POLICIES, recipe, cell.quantities, cell.task, cell.format):
            continue
        if record.cell.subject not in (place.policy_digest, RANDOM_POLICY):  # another teacher's
            continue
        if record.cell.is_floor:
            random = played if len(played) > len(random) else random
        elif recipe not in trials or len(trials[recipe].returns) < len(played):
            trials[recipe] = _trial(place.request, record)
    return trials, random
