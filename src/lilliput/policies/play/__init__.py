"""Runs policies in environments: seeded episodes under an `act` function, and observations from them."""

from lilliput.policies.play.acting import PolicyAct, RandomPolicy, SameAct
from lilliput.policies.play.collect import NOISE, SOURCES, NoisyPolicy, Source, collect, collect_episodes
from lilliput.policies.play.environment import (
    MAX_STEPS,
    EnvironmentSpec,
    action_space_of,
    make_environment,
    observation_space_of,
    successor,
)
from lilliput.policies.play.episode import (
    Progress,
    Stage,
    episode_returns,
    episodes,
    play,
    random_episodes,
    random_returns,
)
from lilliput.policies.play.fit import check_fit, check_last_action, follows_its_seed
from lilliput.policies.play.lanes import Episode, OutOfTime
from lilliput.policies.play.player import BatchAct, Lockstep
from lilliput.policies.play.seeds import ROLES, Role, SeedPlan
from lilliput.policies.play.together import Act, ActOfSeed
from lilliput.policies.play.wrappers import (
    WRAPPERS,
    Atari,
    ClipAction,
    FrameStack,
    OneHot,
    RescaleAction,
    TimeFeature,
    TransposeImage,
    Wrapper,
    ZeroContactForces,
    format_wrapper,
    parse_wrappers,
)

__all__ = [
    "MAX_STEPS",
    "NOISE",
    "ROLES",
    "SOURCES",
    "WRAPPERS",
    "Act",
    "ActOfSeed",
    "Atari",
    "BatchAct",
    "ClipAction",
    "EnvironmentSpec",
    "Episode",
    "FrameStack",
    "Lockstep",
    "NoisyPolicy",
    "OneHot",
    "OutOfTime",
    "PolicyAct",
    "Progress",
    "RandomPolicy",
    "RescaleAction",
    "Role",
    "SameAct",
    "SeedPlan",
    "Source",
    "Stage",
    "TimeFeature",
    "TransposeImage",
    "Wrapper",
    "ZeroContactForces",
    "action_space_of",
    "check_fit",
    "check_last_action",
    "collect",
    "collect_episodes",
    "episode_returns",
    "episodes",
    "follows_its_seed",
    "format_wrapper",
    "make_environment",
    "observation_space_of",
    "parse_wrappers",
    "play",
    "random_episodes",
    "random_returns",
    "successor",
]
