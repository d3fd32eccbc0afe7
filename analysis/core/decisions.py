"""Whether an experiment is decided: ship a treatment, stop, or go on.

The rule may be asked as often as one likes: it uses nothing but anytime-valid intervals, less what
the users' history explains where there is one. The level
alpha is shared by the treatments (Bonferroni), and a treatment's harm by its guardrails.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

from analysis.core.metrics import BY_NAME
from analysis.core.moments import MetricAggregate, adjust_for_history
from analysis.core.sample_ratio import SampleRatio
from analysis.core.sequential import AnytimeInterval, estimate_anytime
from analysis.core.wording import describe_interval

Action = Literal["ship", "stop", "continue"]
Aggregates = Mapping[tuple[str, str], MetricAggregate]


class InvalidRuleError(ValueError):
    """A rule that cannot decide; the message says why."""


@dataclasses.dataclass(frozen=True)
class Guardrail:
    """A metric that a treatment must not harm.

    Attributes:
        metric: Its name.
        tolerance_pct: Harm that is accepted, in percent of the control.
    """

    metric: str
    tolerance_pct: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rule:
    """What an experiment is for, settled before it starts.

    Attributes:
        metric: The one that decides.
        worthwhile_pct: Relative change worth having, in percent. An effect shown to be smaller is
            none, and the intervals are narrow around it.
        guardrails: Metrics that a treatment must not harm.
        min_users: Users that each arm needs before anything is decided: with fewer, the
            normal approximation of a heavy-tailed mean does not hold.

    Raises:
        InvalidRuleError: If a metric is unknown or a number impossible.
    """

    metric: str = "mean_time_per_session"
    worthwhile_pct: float = 5.0
    guardrails: tuple[Guardrail, ...] = (Guardrail("sessions"), Guardrail("retention"))
    min_users: int = 100

    def __post_init__(self) -> None:
        """Refuse what cannot decide."""
        for name in (self.metric, *(guardrail.metric for guardrail in self.guardrails)):
            if name not in BY_NAME:
                known = ", ".join(BY_NAME)
                raise InvalidRuleError(f"no metric is called {name}; there are: {known}")
        if not 0 < self.worthwhile_pct < 1000:
            raise InvalidRuleError("the change worth having must be between 0 and 1000 percent")
        if any(not 0 <= guardrail.tolerance_pct < 100 for guardrail in self.guardrails):
            raise InvalidRuleError("the harm that a guardrail accepts is 0 to 100 percent")
        if self.min_users < 2:
            raise InvalidRuleError("the smallest exposure is 2 users in each arm")


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the rule says of one treatment."""

    treatment: str
    action: Action
    reason: str


@dataclasses.dataclass(frozen=True)
class Decision:
    """What the rule says of an experiment.

    Attributes:
        reached: Whether to look no further: the action is not `continue`.
        action: `ship` a treatment, `stop` without one, or `continue`.
        reason: Why, in one sentence.
        winner: The treatment to ship, the one with the largest effect; None otherwise.
        treatments: A verdict on each.
    """

    reached: bool
    action: Action
    reason: str
    winner: str | None = None
    treatments: tuple[Verdict, ...] = ()


def decide(
    aggregates: Aggregates,
    names: Sequence[str],
    *,
    rule: Rule,
    alpha: float,
    sample_ratio: SampleRatio,
) -> Decision:
    """Apply a rule to an experiment, at any look.

    Args:
        aggregates: Per (treatment, metric).
        names: The arms, the control first.
        rule: What decides.
        alpha: Probability, over all looks, that a treatment without effect is shipped.
        sample_ratio: A mismatch stops the experiment: no further user mends it.
    """
    if sample_ratio.mismatch:
        return Decision(True, "stop", "the users did not fall into the arms as due: trust nothing")
    control, *treatments = names
    if not treatments:
        return Decision(False, "continue", f"only {control} has users")
    level = alpha / len(treatments)
    verdicts = tuple(
        _judge(aggregates, control, treatment, rule=rule, level=level) for treatment in treatments
    )
    return _summarise(aggregates, verdicts, rule)


def _summarise(aggregates: Aggregates, verdicts: tuple[Verdict, ...], rule: Rule) -> Decision:
    """Ship the best once every treatment is settled."""
    reason = "; ".join(f"{verdict.treatment}: {verdict.reason}" for verdict in verdicts)
    if any(verdict.action == "continue" for verdict in verdicts):
        return Decision(False, "continue", reason, treatments=verdicts)
    good = [verdict.treatment for verdict in verdicts if verdict.action == "ship"]
    if not good:
        return Decision(True, "stop", reason, treatments=verdicts)
    sign = 1 if BY_NAME[rule.metric].higher_is_better else -1
    winner = max(good, key=lambda name: sign * (aggregates[name, rule.metric].mean or 0.0))
    return Decision(True, "ship", reason, winner, verdicts)


def _judge(
    aggregates: Aggregates, control: str, treatment: str, *, rule: Rule, level: float
) -> Verdict:
    nobody = MetricAggregate(0)

    def estimate(metric: str, alpha: float) -> AnytimeInterval | None:
        arms = (
            aggregates.get((control, metric), nobody),
            aggregates.get((treatment, metric), nobody),
        )
        if min(arm.n_users for arm in arms) < rule.min_users:
            return None
        arms = adjust_for_history(*arms) or arms
        return estimate_anytime(*arms, alpha=alpha, worthwhile_pct=rule.worthwhile_pct)

    for guardrail in rule.guardrails:
        harm = _harm(estimate(guardrail.metric, level / len(rule.guardrails)), guardrail)
        if harm is not None:
            return Verdict(treatment, "stop", f"harms {guardrail.metric}, {harm}")
    n_users = min(
        aggregates.get((name, rule.metric), nobody).n_users for name in (control, treatment)
    )
    if n_users < rule.min_users:
        reason = f"{n_users:,} users in an arm, of the {rule.min_users:,} that it takes"
        return Verdict(treatment, "continue", reason)
    return _judge_effect(treatment, estimate(rule.metric, level), rule)


def _judge_effect(treatment: str, interval: AnytimeInterval | None, rule: Rule) -> Verdict:
    """Judge by the metric that decides."""
    if interval is None:
        return Verdict(treatment, "continue", f"{rule.metric} has no interval yet")
    lower, upper = _gain(interval, rule.metric)
    shown = f"{rule.metric} {_describe(interval)}"
    if lower > 0:
        return Verdict(treatment, "ship", f"better in {shown}")
    if upper < 0:
        return Verdict(treatment, "stop", f"worse in {shown}")
    if upper < rule.worthwhile_pct:
        return Verdict(treatment, "stop", f"not {rule.worthwhile_pct:g}% better in {shown}")
    return Verdict(treatment, "continue", f"open in {shown}")


def _harm(interval: AnytimeInterval | None, guardrail: Guardrail) -> str | None:
    """Return the interval if all of it is harm beyond the tolerance."""
    if interval is None or _gain(interval, guardrail.metric)[1] >= -guardrail.tolerance_pct:
        return None
    return _describe(interval)


def _gain(interval: AnytimeInterval, metric: str) -> tuple[float, float]:
    """Return the bounds of the change for the better, in percent."""
    if BY_NAME[metric].higher_is_better:
        return interval.lower_pct, interval.upper_pct
    return -interval.upper_pct, -interval.lower_pct


def _describe(interval: AnytimeInterval) -> str:
    return f"({describe_interval(interval.lower_pct, interval.upper_pct)})"
