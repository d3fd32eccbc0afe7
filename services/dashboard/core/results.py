"""What the pages say of an experiment: how it stands, and what its numbers allow."""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, get_args

from analysis.core.comparison import Comparison, Measurements, compare
from analysis.core.effects import Effect
from analysis.core.metrics import BY_NAME
from analysis.core.timeline import EffectAt, Timeline, accumulate_effects, count_sessions
from shared.experiments import Experiment, ExperimentSet

State = Literal["serving", "logged", "scheduled", "ended", "over"]
Mood = Literal["good", "bad", "alarm", "open"]


@dataclasses.dataclass(frozen=True)
class Readings:
    """What the log holds of an experiment.

    Attributes:
        measurements: Its arms and metrics.
        timeline: The same over time; None without events.
        changes: Of its definition, between the first event and the last.
    """

    measurements: Measurements
    timeline: Timeline | None
    changes: Sequence[str] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Results:
    """An experiment's results.

    Attributes:
        comparison: As the command line prints it.
        width: Of the intervals of time.
        starts_at: Starts of those that have sessions.
        sessions: Sessions that began in each, by arm.
        effects_over_time: By treatment, of the deciding metric.
    """

    comparison: Comparison
    width: timedelta
    starts_at: tuple[datetime, ...]
    sessions: Mapping[str, tuple[int, ...]]
    effects_over_time: Mapping[str, tuple[EffectAt, ...]]


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What to make of an experiment.

    Attributes:
        mood: Good or bad news, an alarm, or open.
        headline: A word or two.
        reason: One sentence.
    """

    mood: Mood
    headline: str
    reason: str


class NoDataError(LookupError):
    """An experiment without results; the message says why."""


def make_results(readings: Readings, *, weights: Mapping[str, float] | None) -> Results:
    """Compare an experiment's treatments with its control.

    Args:
        readings: What the log holds.
        weights: Of the split, if the experiment's definition is known.

    Raises:
        NoDataError: If there is nothing to compare.
        UnknownTreatmentError: If nobody is in the control.
    """
    measurements, timeline = readings.measurements, readings.timeline
    if not measurements.arms or timeline is None:
        if measurements.n_conflict_users:
            raise NoDataError("every user was seen under two treatments: nothing to compare")
        raise NoDataError("no event names it yet")
    comparison = compare(measurements, weights=weights, changes=readings.changes)
    return Results(
        comparison=comparison,
        width=timeline.width,
        starts_at=timeline.starts_at,
        sessions=count_sessions(timeline),
        effects_over_time=accumulate_effects(
            timeline,
            control=comparison.control,
            metric=comparison.rule.metric,
            alpha=comparison.alpha,
            worthwhile_pct=comparison.rule.worthwhile_pct,
        ),
    )


def find_weights(experiment: Experiment | None, seen: Sequence[str]) -> dict[str, float] | None:
    """Return the weights of the split, unless events name arms that the definition lacks."""
    if experiment is None:
        return None
    weights = {treatment.name: treatment.weight for treatment in experiment.treatments}
    return weights if set(seen) <= weights.keys() else None


def state_of(name: str, experiments: ExperimentSet, at: datetime) -> State:
    """Say how an experiment stands at a moment.

    Returns:
        `scheduled` or `ended` outside its window; `serving` or `logged` inside; `over` if it is no
        longer defined.
    """
    definition = experiments.by_name.get(name)
    if definition is None:
        return "over"
    status = definition.status(1000 * at.timestamp())
    if status != "running":
        return status
    return "serving" if name in experiments.serving_names else "logged"


def find_serving(experiments: ExperimentSet, at: datetime) -> Experiment:
    """Return the experiment that serves at a moment; of several, or of none, the first named."""
    named = [experiments.by_name[name] for name in experiments.serving_names]
    running = [each for each in named if state_of(each.name, experiments, at) == "serving"]
    return (running or named)[0]


def list_names(experiments: ExperimentSet, seen: Mapping[str, object], at: datetime) -> list[str]:
    """List experiments: first what serves, last those that the log alone knows."""
    order = {state: place for place, state in enumerate(get_args(State))}
    names = {*experiments.by_name, *seen}
    return sorted(names, key=lambda name: (order[state_of(name, experiments, at)], name))


def judge(comparison: Comparison) -> Verdict:
    """Say in a word what the decision rule says."""
    decision = comparison.decision
    if comparison.sample_ratio.mismatch:
        return Verdict("alarm", "Broken split", decision.reason)
    if decision.action == "ship":
        return Verdict("good", f"Ship {decision.winner}", decision.reason)
    if decision.action == "stop":
        return Verdict("bad", "Stop", decision.reason)
    return Verdict("open", "Go on", decision.reason)


def is_good(effect: Effect) -> bool | None:
    """Say whether a significant effect is good news; None if it is not significant."""
    if not effect.significant:
        return None
    difference = (effect.treatment_mean or 0.0) - (effect.control_mean or 0.0)
    return (difference > 0) == BY_NAME[effect.metric].higher_is_better


def find_deciding(comparison: Comparison) -> list[Effect]:
    """Return the effects in the metric that decides, one per treatment."""
    return [effect for effect in comparison.effects if effect.metric == comparison.rule.metric]
