"""How a relative change is told, the same in every table, sentence and picture.

Up to ten times a change is told in percent; beyond that nobody can picture a percentage, and it is
told as a factor: `+12.34%`, `-50.00%`, `+250.0%`, `×48.0`, `×8,288`.
"""

import math

NONE = "—"
FACTOR_FROM_PCT = 900.0  # ten times
_LARGEST_FACTOR = 1_000_000  # beyond it a change says that nothing is known


def describe_change(percent: float | None, *, upper: float | None = None) -> str:
    """Tell a relative change; a dash if there is none.

    Args:
        percent: Of the control.
        upper: Of the interval that stands beside it, whose unit it shares.
    """
    if percent is None or not math.isfinite(percent):
        return NONE
    if max(percent, percent if upper is None else upper) >= FACTOR_FROM_PCT:
        return describe_factor(1 + percent / 100)
    return f"{percent:+z.{2 if abs(percent) < 100 else 1}f}%"


def describe_bounds(lower: float | None, upper: float | None) -> tuple[str, str]:
    """Tell the ends of an interval in one unit: in factors if the upper one is."""
    if lower is None or upper is None or not math.isfinite(lower + upper):
        return NONE, NONE
    if upper < FACTOR_FROM_PCT:
        return describe_change(lower), describe_change(upper)
    return describe_factor(1 + lower / 100), describe_factor(1 + upper / 100)


def describe_interval(lower: float | None, upper: float | None) -> str:
    """Tell an interval of a relative change, given in percent."""
    ends = describe_bounds(lower, upper)
    return NONE if NONE in ends else " to ".join(ends)


def describe_tick(percent: float) -> str:
    """Tell a round change under an axis, as short as can be."""
    if percent >= FACTOR_FROM_PCT:
        return f"×{1 + percent / 100:,g}"
    return f"{percent:+g}%" if percent else "0"


def describe_factor(factor: float) -> str:
    """Tell a ratio of means."""
    if factor > _LARGEST_FACTOR:
        return f">×{_LARGEST_FACTOR:,}"
    decimals = 2 if factor < 10 else 1 if factor < 100 else 0
    return f"×{factor:z,.{decimals}f}"
