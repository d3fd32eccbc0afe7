"""An experiment over time: sessions by arm, and its effects as they were at each moment."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from analysis.core.comparison import sort_treatments
from analysis.core.effects import WORTHWHILE_PCT, Effect, estimate_effect
from analysis.core.moments import MetricAggregate

WIDTHS = tuple(
    timedelta(seconds=seconds)
    for seconds in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
)
DAY = timedelta(days=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """What an interval adds to an arm, in one metric.

    Attributes:
        treatment: Name of the arm.
        metric: Name of the metric.
        start_at: Of the interval.
        n_sessions: That began in it.
        n_users: That have the metric since.
        total, total_squares: How the sums over users of the metric, and of its square, change.
    """

    treatment: str
    metric: str
    start_at: datetime
    n_sessions: int
    n_users: int
    total: float
    total_squares: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timeline:
    """An experiment in equal intervals; each session counts where it began.

    Attributes:
        width: Of an interval.
        steps: Of every arm and metric; intervals without sessions are absent.
    """

    width: timedelta
    steps: tuple[Step, ...]

    @property
    def starts_at(self) -> tuple[datetime, ...]:
        """Starts of the intervals that have sessions, ascending."""
        return tuple(sorted({step.start_at for step in self.steps}))


@dataclasses.dataclass(frozen=True)
class EffectAt:
    """An effect as of a moment."""

    at: datetime
    effect: Effect


def choose_width(length: timedelta, *, n_intervals: int) -> timedelta:
    """Return the shortest usual width that cuts a length into so many intervals at most."""
    for width in WIDTHS:
        if width * n_intervals >= length:
            return width
    return DAY * max(1, -(-length // (DAY * n_intervals)))


def count_sessions(timeline: Timeline) -> dict[str, tuple[int, ...]]:
    """Count the sessions by arm that began in each of the timeline's intervals."""
    starts = timeline.starts_at
    counts: dict[str, dict[datetime, int]] = {}
    for step in timeline.steps:  # every metric says the same
        counts.setdefault(step.treatment, {})[step.start_at] = step.n_sessions
    return {
        name: tuple(counts[name].get(start, 0) for start in starts)
        for name in sort_treatments(counts)
    }


def accumulate_effects(
    timeline: Timeline,
    *,
    control: str,
    metric: str,
    alpha: float = 0.05,
    worthwhile_pct: float = WORTHWHILE_PCT,
) -> dict[str, tuple[EffectAt, ...]]:
    """Compare each treatment with the control as of the end of every interval.

    An effect's anytime interval holds at all of these looks together; the other one only at a look
    that was planned before.
    """
    starts = timeline.starts_at
    steps = [step for step in timeline.steps if step.metric == metric]
    by_arm = {
        name: _accumulate([step for step in steps if step.treatment == name], starts)
        for name in sort_treatments({step.treatment for step in steps}, control=control)
    }
    if control not in by_arm:
        return {}
    control_values = by_arm.pop(control)
    return {
        name: tuple(
            EffectAt(
                start + timeline.width,
                estimate_effect(
                    before,
                    after,
                    treatment=name,
                    metric=metric,
                    alpha=alpha,
                    worthwhile_pct=worthwhile_pct,
                ),
            )
            for start, before, after in zip(starts, control_values, values, strict=True)
        )
        for name, values in by_arm.items()
    }


def _accumulate(steps: Iterable[Step], starts: Sequence[datetime]) -> list[MetricAggregate]:
    """Return an arm's aggregate as of the end of every interval."""
    by_start: Mapping[datetime, Step] = {step.start_at: step for step in steps}
    n_users, total, squares = 0, 0.0, 0.0
    aggregates = []
    for start in starts:
        if step := by_start.get(start):
            n_users += step.n_users
            total += step.total
            squares += step.total_squares
        aggregates.append(_aggregate(n_users, total, squares))
    return aggregates


def _aggregate(n_users: int, total: float, squares: float) -> MetricAggregate:
    if n_users == 0:
        return MetricAggregate(0)
    mean = total / n_users
    if n_users == 1:
        return MetricAggregate(1, mean)
    # Rounding may leave a little less than nothing.
    return MetricAggregate(n_users, mean, max(0.0, (squares - total * mean) / (n_users - 1)))
