"""Whether a new version is to serve."""

from dataclasses import dataclass
from typing import Literal

from services.trainer.core.judgement import Comparison

Promote = Literal["auto", "always", "never"]

TOLERANCE = 0.02  # of the serving version's mean squared error


@dataclass(frozen=True)
class Promotion:
    """What was decided, and why."""

    is_promoted: bool
    reason: str


def decide(
    promote: Promote, *, serving: str | None, comparison: Comparison | None, obstacle: str | None
) -> Promotion:
    """Decide whether a version is to serve.

    Under `auto` it serves if it is not worse: with 95% confidence its mean squared error on the
    held-out plays exceeds the serving version's by less than `TOLERANCE` of that (a test of
    non-inferiority). Where nothing usable serves, there is nothing to be worse than.

    Args:
        promote: What was asked for.
        serving: Version that serves, if it can serve.
        comparison: With that version, if both predict.
        obstacle: Why a version that the pointer names cannot serve.
    """
    if promote != "auto":
        return Promotion(promote == "always", f"promote is {promote}")
    if obstacle is not None:
        return Promotion(True, obstacle)
    if serving is None:
        return Promotion(True, "the first version")
    if comparison is None:
        return Promotion(False, f"cannot be compared with {serving}, which predicts no times")
    allowed = TOLERANCE * comparison.serving["held_out_mse"]
    is_promoted = comparison.difference_upper <= allowed
    return Promotion(is_promoted, _explain(comparison, allowed=allowed, is_promoted=is_promoted))


def _explain(comparison: Comparison, *, allowed: float, is_promoted: bool) -> str:
    errors = (
        f"squared error {comparison.candidate['held_out_mse']:.4g} against "
        f"{comparison.serving['held_out_mse']:.4g} of {comparison.model_version} on "
        f"{comparison.n_sessions:,} held-out sessions; the difference is less than "
        f"{comparison.difference_upper:+.2g} with 95% confidence, allowed is {allowed:+.2g}"
    )
    word = "not worse" if is_promoted else "may be worse"
    seen = comparison.seen_share
    bias = f"; that version may have learnt from {seen:.0%} of those sessions" if seen else ""
    return f"{word}: {errors}{bias}"
