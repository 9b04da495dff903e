"""Paired intervals, verdicts, sequential decisions and aggregates: arrays in, numbers out."""

from lilliput.statistics.aggregate import (
    PerformanceProfile,
    interquartile_mean,
    paired_probability_of_improvement,
    performance_profile,
    probability_of_improvement,
    stratified_bootstrap,
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
    LatencyQuantiles,
    latency_quantiles,
    quantile_interval,
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
    "LatencyQuantiles",
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
    "latency_quantiles",
    "log_wealth",
    "mean_lower_bound",
    "paired_probability_of_improvement",
    "performance_profile",
    "plan_confirmation",
    "plausible_range",
    "probability_of_improvement",
    "quantile_interval",
    "retention",
    "share_kept",
    "stratified_bootstrap",
    "student_t_quantile",
    "verdict",
    "verdicts",
    "worst_decile",
]
