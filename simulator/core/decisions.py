"""Whether an experiment is decided, read from what an analysis says of it."""

import msgspec


class Verdict(msgspec.Struct, frozen=True):
    """Whether a run may stop, and why."""

    is_reached: bool
    reason: str


class _Effect(msgspec.Struct):
    treatment: str
    metric: str
    significant: bool | None = None
    effect_pct: float | None = None
    lower_pct: float | None = None
    upper_pct: float | None = None


class _SampleRatio(msgspec.Struct):
    mismatch: bool = False


class _Decision(msgspec.Struct):
    reached: bool
    reason: str = ""


class Analysis(msgspec.Struct):
    """What we need of an analysis; it may say more.

    Attributes:
        decision: Its own, if it knows a rule for looking again and again.
        effects: Otherwise, per treatment and metric.
        sample_ratio: Whether the split can be believed.
    """

    decision: _Decision | None = None
    effects: list[_Effect] = []
    sample_ratio: _SampleRatio = msgspec.field(default_factory=_SampleRatio)


def share_alpha(alpha: float, n_peeks: int) -> float:
    """Return the level of each of several looks that together err with at most `alpha`.

    Bonferroni's bound: valid whatever the looks have in common, and cautious for that reason.
    """
    return alpha / n_peeks


def judge(analysis: Analysis, *, metric: str) -> Verdict:
    """Judge whether every treatment of an experiment is told apart from its control.

    Args:
        analysis: Of the experiment.
        metric: That decides, unless the analysis decides by itself.
    """
    if analysis.decision is not None:
        return Verdict(analysis.decision.reached, analysis.decision.reason)
    if analysis.sample_ratio.mismatch:
        return Verdict(False, "the sample ratio is not as due: no effect can be believed")
    effects = [effect for effect in analysis.effects if effect.metric == metric]
    if not effects:
        return Verdict(False, f"nothing is known of {metric} yet")
    is_reached = all(effect.significant for effect in effects)
    return Verdict(is_reached, "; ".join(map(_describe, effects)))


def _describe(effect: _Effect) -> str:
    numbers = (effect.effect_pct, effect.lower_pct, effect.upper_pct)
    if None in numbers:
        return f"{effect.treatment}: {effect.metric} not known yet"
    shown, lower, upper = (f"{number:+.1f}%" for number in numbers)
    told = "told apart" if effect.significant else "open"
    return f"{effect.treatment}: {effect.metric} {shown} ({lower} to {upper}), {told}"
