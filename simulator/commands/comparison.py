"""How a paired comparison is shown."""

import msgspec
from rich.console import Console

from simulator.commands.report import show_json, show_table
from simulator.core.paired import Effect, PairedComparison

_HEADINGS = ("time per session", "before", "after", "effect", "95% interval", "if not paired")


class Sides(msgspec.Struct, frozen=True):
    """What served the sessions before and after."""

    before: str
    after: str


def show_comparison(
    console: Console, comparison: PairedComparison, *, sides: Sides, style: str
) -> None:
    """Show a paired comparison.

    Args:
        console: Standard output.
        comparison: The numbers.
        sides: Of what.
        style: One of the report's FORMATS.
    """
    ratio, lower, upper = comparison.ratio
    if style == "json":
        values = {"before": sides.before, "after": sides.after}
        ratios = {"ratio": ratio, "ratio_lower": lower, "ratio_upper": upper}
        show_json(console, values | msgspec.to_builtins(comparison) | ratios)
        return
    difference, log_ratio = comparison.difference, comparison.log_ratio
    rows = [
        (
            "mean",
            f"{comparison.mean_before:.3f}",
            f"{comparison.mean_after:.3f}",
            f"{difference.estimate:+.3f}",
            f"{difference.lower:+.3f} to {difference.upper:+.3f}",
            f"± {difference.unpaired_margin:.3f}",
        ),
        (
            "geometric mean",
            f"{comparison.geometric_before:.3f}",
            f"{comparison.geometric_after:.3f}",
            _percent(ratio),
            f"{_percent(lower)} to {_percent(upper)}",
            f"± {100 * log_ratio.unpaired_margin:.1f}%",
        ),
    ]
    title = (
        f"{sides.before}, replayed under {sides.after}: {comparison.n_sessions:,} sessions of "
        f"{comparison.n_users:,} users"
    )
    show_table(console, _HEADINGS, rows, title=title, style=style)
    console.print(_describe_pairing(comparison), markup=False)


def _describe_pairing(comparison: PairedComparison) -> str:
    return (
        f"Pairing: {_describe_reduction(comparison.difference)} for the mean, "
        f"{_describe_reduction(comparison.log_ratio)} for the geometric mean.\n"
        f"Sessions: {100 * comparison.better:.1f}% longer, {100 * comparison.same:.1f}% the same, "
        f"{100 * comparison.worse:.1f}% shorter; correlation {comparison.correlation:.2f}."
    )


def _describe_reduction(effect: Effect) -> str:
    reduction = effect.variance_reduction
    if not reduction < 1:  # all is the same, or nothing varies
        return "no variance left"
    worth = f"worth {1 / (1 - reduction):.2f} times the sessions"
    return f"{100 * reduction:.1f}% less variance ({worth})"


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f}%"
