"""Paired intervals, verdicts, sequential decisions and aggregates: arrays in, numbers out."""

from lilliput.statistics.aggregate import (
    PerformanceProfile,
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
)
from lilliput.statistics.confirmation import (
    Confirmation,
    ConfirmationPlan,
    alpha_split,
    confirm,
    log_wealth,
    plan_confirmation,
)
from lilliput.statistics.quantile import (
    Interval,
    student_t_quantile,
    worst_decile,
)
from lilliput.statistics.retention import Retention, fieller, retention, share_kept
from lilliput.statistics.verdict import MIN_EPISODES, Verdict, episodes_needed, verdict, verdicts
from lilliput.statistics.worst_case import (
    PlausibleRange,
    is_above_random,
    mean_lower_bound,
    plausible_range,
)

__all__ = [
    "MIN_EPISODES",
    "Confirmation",
    "ConfirmationPlan",
    "Interval",
    "PerformanceProfile",
    "PlausibleRange",
    "Retention",
    "Verdict",
    "alpha_split",
    "confirm",
    "episodes_needed",
    "fieller",
    "interquartile_mean",
    "is_above_random",
    "log_wealth",
    "mean_lower_bound",
    "performance_profile",
    "plan_confirmation",
    "plausible_range",
    "probability_of_improvement",
    "retention",
    "share_kept",
    "student_t_quantile",
    "verdict",
    "verdicts",
    "worst_decile",
]
