"""What a treatment changed in a metric, from the number, mean and variance of each arm alone.

botify's notebook divides the interval of the difference by the control mean, as if that mean were
known exactly. It is itself an estimate: here the interval is that of the ratio of the two means
(delta method on the log scale), so the control's variance is in it, and it is wider and not
symmetric. The p-value is the same: Welch's test of the difference.
"""

import dataclasses

from analysis.core.moments import MetricAggregate, adjust_for_history
from analysis.core.planning import estimate_power, minimum_detectable_pct
from analysis.core.sequential import estimate_anytime
from analysis.core.welch import analyze, finite

WORTHWHILE_PCT = 5.0  # the change that an experiment is run for, unless said otherwise


@dataclasses.dataclass(frozen=True, kw_only=True)
class Effect:
    """A treatment against the control, in one metric.

    Attributes:
        treatment: Name of the arm.
        metric: Name of the metric.
        effect_pct: Relative change of the mean in percent, of the control mean.
        lower_pct, upper_pct: Its confidence interval.
        control_mean, treatment_mean: Over users.
        significant: Whether p_value is below the level asked for.
        p_value: Of Welch's test, two-sided.
        n_control, n_treatment: Users.
        reason: Why something above is None; None if nothing is.
        p_holm: Adjusted for all tests of the experiment: bounds the probability of any false
            discovery.
        p_bh: Likewise (Benjamini-Hochberg): bounds the share of false discoveries.
        anytime_lower_pct, anytime_upper_pct: An interval that holds at every look, less what the
            users' history explains, if they have one.
        anytime_p_value: Of no change, valid at every look.
        cuped_effect_pct: The effect less what the users' history explains; None without history.
        cuped_lower_pct, cuped_upper_pct, cuped_p_value: Its interval and test.
        cuped_reduction_pct: Share of the variance of the difference that history explains.
        power: Probability that the test sees the worthwhile change, with these users.
        mde_pct: Relative change that it sees with probability 0.8.
    """

    treatment: str
    metric: str
    effect_pct: float | None = None
    lower_pct: float | None = None
    upper_pct: float | None = None
    control_mean: float | None = None
    treatment_mean: float | None = None
    significant: bool | None = None
    p_value: float | None = None
    n_control: int = 0
    n_treatment: int = 0
    reason: str | None = None
    p_holm: float | None = None
    p_bh: float | None = None
    anytime_lower_pct: float | None = None
    anytime_upper_pct: float | None = None
    anytime_p_value: float | None = None
    cuped_effect_pct: float | None = None
    cuped_lower_pct: float | None = None
    cuped_upper_pct: float | None = None
    cuped_p_value: float | None = None
    cuped_reduction_pct: float | None = None
    power: float | None = None
    mde_pct: float | None = None


def estimate_effect(
    control: MetricAggregate,
    treated: MetricAggregate,
    *,
    treatment: str,
    metric: str,
    alpha: float = 0.05,
    worthwhile_pct: float = WORTHWHILE_PCT,
) -> Effect:
    """Compare a treatment with the control in one metric.

    `worthwhile_pct` is the relative change that the experiment is run for, in percent: what the
    power is of, and where the anytime interval is narrow.

    The interval has level 1 - alpha. It belongs to the ratio of means and the test to their
    difference, so that at a p-value next to alpha one may include no change and the other not;
    `significant` follows the test.

    Source: Deng, Knoblich & Lu (2018), Applying the Delta Method in Metric Analytics.
    """
    reason = _why_no_test(control, treated)
    p_value, lower, upper = (None, None, None) if reason else analyze(control, treated, alpha=alpha)
    effect = Effect(
        treatment=treatment,
        metric=metric,
        effect_pct=_relative_change(control.mean, treated.mean),
        lower_pct=lower,
        upper_pct=upper,
        control_mean=control.mean,
        treatment_mean=treated.mean,
        significant=None if p_value is None else p_value < alpha,
        p_value=p_value,
        n_control=control.n_users,
        n_treatment=treated.n_users,
        reason=reason or _why_no_number(control, treated, p_value=p_value, lower=lower),
    )
    if reason:
        return effect
    effect = _with_anytime(effect, control, treated, alpha=alpha, worthwhile_pct=worthwhile_pct)
    return _with_cuped(effect, control, treated, alpha=alpha)


def _with_anytime(
    effect: Effect,
    control: MetricAggregate,
    treated: MetricAggregate,
    *,
    alpha: float,
    worthwhile_pct: float,
) -> Effect:
    """Add what holds at every look, and what the test can see."""
    arms = adjust_for_history(control, treated) or (control, treated)
    anytime = estimate_anytime(*arms, alpha=alpha, worthwhile_pct=worthwhile_pct)
    return dataclasses.replace(
        effect,
        anytime_lower_pct=anytime.lower_pct if anytime else None,
        anytime_upper_pct=anytime.upper_pct if anytime else None,
        anytime_p_value=anytime.p_value if anytime else None,
        power=estimate_power(control, treated, effect_pct=worthwhile_pct, alpha=alpha),
        mde_pct=minimum_detectable_pct(control, treated, alpha=alpha),
    )


def _with_cuped(
    effect: Effect, control: MetricAggregate, treated: MetricAggregate, *, alpha: float
) -> Effect:
    """Add the effect less what the users' history explains, if they have one."""
    adjusted = adjust_for_history(control, treated)
    if adjusted is None or _why_no_test(*adjusted):
        return effect
    p_value, lower, upper = analyze(*adjusted, alpha=alpha)
    before, after = _squared_error(control, treated), _squared_error(*adjusted)
    return dataclasses.replace(
        effect,
        cuped_effect_pct=_relative_change(adjusted[0].mean, adjusted[1].mean),
        cuped_lower_pct=lower,
        cuped_upper_pct=upper,
        cuped_p_value=p_value,
        cuped_reduction_pct=finite(100 * (1 - after / before)) if before else None,
    )


def _squared_error(control: MetricAggregate, treated: MetricAggregate) -> float:
    return sum((arm.variance or 0.0) / arm.n_users for arm in (control, treated))


def _why_no_test(control: MetricAggregate, treated: MetricAggregate) -> str | None:
    for name, arm in (("control", control), ("treatment", treated)):
        if arm.n_users == 0 or arm.mean is None:
            return f"no user in the {name}"
        if arm.n_users == 1 or arm.variance is None:
            return f"one user in the {name}: its variance is unknown"
    if control.variance == 0 and treated.variance == 0:
        return "all users of each arm have the same value: nothing to test"
    return None


def _why_no_number(
    control: MetricAggregate,
    treated: MetricAggregate,
    *,
    p_value: float | None,
    lower: float | None,
) -> str | None:
    if p_value is None:
        return "beyond floating point: no test"
    return _why_no_interval(control, treated) if lower is None else None


def _why_no_interval(control: MetricAggregate, treated: MetricAggregate) -> str:
    if control.mean == 0:
        return "the control mean is 0: no relative effect"
    if treated.mean == 0:
        return "the treatment mean is 0: no interval of the ratio"
    if control.mean is not None and treated.mean is not None and control.mean * treated.mean < 0:
        return "the means have different signs: no interval of the ratio"
    return "beyond floating point: no interval of the ratio"


def _relative_change(control: float | None, treated: float | None) -> float | None:
    """Return the change in percent of the control mean, if defined."""
    if not control or treated is None:
        return None
    return finite(100 * (treated / control - 1))
