"""Whether an experiment is decided, read from what an analysis says of it."""

import msgspec


class Verdict(msgspec.Struct, frozen=True):
    """Whether a run may stop, and why."""

    is_reached: bool
    reason: str


class _Decision(msgspec.Struct):
    reached: bool
    reason: str = ""


class Analysis(msgspec.Struct):
    """What we need of an analysis; it may say more.

    Attributes:
        decision: By a rule that holds however often it is asked; None if the analysis has none yet.
    """

    decision: _Decision | None = None


def judge(analysis: Analysis) -> Verdict:
    """Read whether an experiment is decided."""
    if analysis.decision is None:
        return Verdict(False, "the analysis has nothing to decide on yet")
    return Verdict(analysis.decision.reached, analysis.decision.reason)
