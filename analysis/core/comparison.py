"""The results of one experiment: its arms, its effects, and what to know before believing them."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from analysis.core.adjustment import adjust_benjamini_hochberg, adjust_holm
from analysis.core.decisions import Decision, Rule, decide
from analysis.core.effects import Effect, estimate_effect
from analysis.core.metrics import METRICS, Metric
from analysis.core.moments import MetricAggregate
from analysis.core.sample_ratio import SampleRatio, check_sample_ratio

CONTROL = "C"


class UnknownTreatmentError(LookupError):
    """A treatment that the experiment does not have; the message lists those it has."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arm:
    """One arm of an experiment, from the users that saw no other.

    Attributes:
        treatment: Name of the arm.
        n_users: Users.
        n_sessions: Their sessions.
        n_finished: Of these, closed.
        n_events: Their events: tracks heard.
        first_at, last_at: Times of the first and the last event.
    """

    treatment: str
    n_users: int
    n_sessions: int
    n_finished: int
    n_events: int
    first_at: datetime
    last_at: datetime


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measurements:
    """What the events say of one experiment.

    Attributes:
        experiment: Its name.
        arms: The arms that have users.
        metrics: Aggregate per (treatment, metric).
        n_conflict_users: Users seen under two treatments, in no arm.
        n_conflict_events: Their events.
    """

    experiment: str
    arms: Sequence[Arm]
    metrics: Mapping[tuple[str, str], MetricAggregate]
    n_conflict_users: int = 0
    n_conflict_events: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """Every treatment of an experiment against its control.

    Attributes:
        experiment: Its name.
        control: The arm compared with.
        alpha: Significance level of the tests; the intervals have level 1 - alpha.
        arms: All arms, the control first.
        effects: By treatment, then by metric in the order of METRICS.
        unmeasured: Metrics that no user of any arm has; there is no effect of them.
        sample_ratio: Whether the users fell into the arms as intended.
        decision: Whether to ship, to stop or to go on, and why.
        rule: That it follows.
        n_conflict_users, n_conflict_events: Left out: users seen under two treatments.
        changes: Of the definition, while it ran.
    """

    experiment: str
    control: str
    alpha: float
    rule: Rule
    decision: Decision
    arms: tuple[Arm, ...]
    effects: tuple[Effect, ...]
    unmeasured: tuple[str, ...]
    sample_ratio: SampleRatio
    n_conflict_users: int
    n_conflict_events: int
    changes: tuple[str, ...] = ()


def compare(
    measurements: Measurements,
    *,
    control: str = CONTROL,
    alpha: float = 0.05,
    weights: Mapping[str, float] | None = None,
    rule: Rule | None = None,
    changes: Sequence[str] = (),
) -> Comparison:
    """Compare every treatment with the control, in every metric.

    Args:
        measurements: Of one experiment.
        control: Name of the arm to compare with.
        alpha: Significance level.
        weights: Of the split, for the sample ratio; equal if absent.
        rule: That decides; the usual one if absent.
        changes: Of the definition, while it ran.

    Raises:
        UnknownTreatmentError: If the control has no users.
        InvalidWeightsError: As `check_sample_ratio`.
    """
    by_name = {arm.treatment: arm for arm in measurements.arms}
    if control not in by_name:
        known = ", ".join(sort_treatments(by_name, control=control)) or "none"
        raise UnknownTreatmentError(
            f"{measurements.experiment} has no users in {control}; it has: {known}"
        )
    names = sort_treatments(by_name, control=control)
    rule = rule or Rule()
    measured = _measured_metrics(measurements)
    effects = list(_estimate_effects(measurements, names, measured, alpha=alpha, rule=rule))
    sample_ratio = check_sample_ratio({n: by_name[n].n_users for n in names}, weights)
    return Comparison(
        experiment=measurements.experiment,
        control=control,
        alpha=alpha,
        rule=rule,
        decision=decide(
            measurements.metrics,
            names,
            rule=rule,
            alpha=alpha,
            sample_ratio=sample_ratio,
        ),
        arms=tuple(by_name[name] for name in names),
        effects=tuple(_adjust(effects)),
        unmeasured=tuple(metric.name for metric in METRICS if metric not in measured),
        sample_ratio=sample_ratio,
        n_conflict_users=measurements.n_conflict_users,
        n_conflict_events=measurements.n_conflict_events,
        changes=tuple(changes),
    )


def _measured_metrics(measurements: Measurements) -> list[Metric]:
    """Return the metrics that some user has, in the order of METRICS."""
    names = {name for (_, name), value in measurements.metrics.items() if value.n_users}
    return [metric for metric in METRICS if metric.name in names]


def _estimate_effects(
    measurements: Measurements,
    names: Sequence[str],
    metrics: Sequence[Metric],
    *,
    alpha: float,
    rule: Rule,
) -> Iterator[Effect]:
    """Compare every arm with the first."""
    nobody = MetricAggregate(0)
    control, *treatments = names
    for treatment in treatments:
        for metric in metrics:
            yield estimate_effect(
                measurements.metrics.get((control, metric.name), nobody),
                measurements.metrics.get((treatment, metric.name), nobody),
                treatment=treatment,
                metric=metric.name,
                alpha=alpha,
                worthwhile_pct=rule.worthwhile_pct,
            )


def _adjust(effects: Sequence[Effect]) -> Iterator[Effect]:
    """Adjust the p-values of an experiment for how many they are."""
    p_values = [effect.p_value for effect in effects]
    adjusted = zip(effects, adjust_holm(p_values), adjust_benjamini_hochberg(p_values), strict=True)
    for effect, p_holm, p_bh in adjusted:
        yield dataclasses.replace(effect, p_holm=p_holm, p_bh=p_bh)


def sort_treatments(names: Iterable[str], *, control: str = CONTROL) -> list[str]:
    """Sort treatments: the control, then T1, T2, ... T10."""
    return sorted(names, key=lambda name: (name != control, len(name), name))
