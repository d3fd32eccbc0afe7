"""What a reader must know before believing the effects, in plain sentences."""

from analysis.core.comparison import Comparison
from analysis.core.sample_ratio import SampleRatio

MISMATCH = "Sample ratio MISMATCH"
UNITS = (
    "Times are in tracks' worth of listening, latency in ms; each value is a mean over users, "
    "shares are of all playbacks or requests."
)


def notes(comparison: Comparison) -> list[str]:
    """Say what a reader must know before believing the effects, in plain sentences."""
    lines = [_describe_sample_ratio(comparison.sample_ratio), _describe_decision(comparison)]
    if comparison.n_conflict_users:
        lines.append(
            f"Left out, seen under two treatments: {comparison.n_conflict_users:,} users "
            f"with {comparison.n_conflict_events:,} events."
        )
    if comparison.changes:
        lines.append(
            "Its definition changed while it ran, and every number mixes what was before and "
            f"after: {'; '.join(comparison.changes)}."
        )
    n_open = sum(arm.n_sessions - arm.n_finished for arm in comparison.arms)
    if n_open:
        lines.append(f"Sessions not closed yet: {n_open:,}; they count as far as they went.")
    lines += _reasons(comparison)
    if comparison.unmeasured:
        lines.append(f"Not measured, no user has them: {', '.join(comparison.unmeasured)}.")
    if len(comparison.arms) < 2:
        lines.append(f"Only {comparison.control} has users: nothing to compare it with.")
    lines.append(UNITS)
    return lines


def _reasons(comparison: Comparison) -> list[str]:
    """Say why something is missing, the metrics with the same reason together."""
    metrics: dict[tuple[str, str], list[str]] = {}
    for effect in comparison.effects:
        if effect.reason:
            metrics.setdefault((effect.treatment, effect.reason), []).append(effect.metric)
    return [
        f"{treatment} {', '.join(names)}: {reason}."
        for (treatment, reason), names in metrics.items()
    ]


def _describe_sample_ratio(ratio: SampleRatio) -> str:
    if ratio.p_value is None:
        return "Sample ratio: not checked, it takes two arms."
    p_value = "p < 0.001" if ratio.p_value < 0.001 else f"p = {ratio.p_value:.3f}"
    shares = ", ".join(
        f"{name} {users:,} of {ratio.expected[name]:,.0f}" for name, users in ratio.observed.items()
    )
    if ratio.mismatch:
        return f"{MISMATCH}: the split is broken, trust no effect ({p_value}; users: {shares} due)."
    return f"Sample ratio: as due ({p_value}; users: {shares} due)."


def _describe_decision(comparison: Comparison) -> str:
    decision = comparison.decision
    action = {"ship": f"ship {decision.winner}", "stop": "stop", "continue": "go on"}
    return f"Decision: {action[decision.action]}; {decision.reason}."
