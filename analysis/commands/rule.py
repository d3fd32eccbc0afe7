"""The options that say what an experiment is for."""

import argparse

from analysis.core.decisions import Guardrail, Rule

DEFAULT = Rule()


def add_rule_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare them."""
    group = parser.add_argument_group("decision", "what decides; settle it before the start")
    group.add_argument(
        "--metric", default=DEFAULT.metric, help=f"that decides (default: {DEFAULT.metric})"
    )
    group.add_argument(
        "--worthwhile",
        type=float,
        default=DEFAULT.worthwhile_pct,
        metavar="PERCENT",
        help=f"relative change worth having (default: {DEFAULT.worthwhile_pct:g})",
    )
    group.add_argument(
        "--guardrail",
        type=_guardrail,
        action="append",
        metavar="METRIC[=PERCENT]",
        help="metric not to be harmed, by more than so much (default: sessions and retention); "
        "may be repeated; none: --guardrail none",
    )
    group.add_argument(
        "--min-users",
        type=int,
        default=DEFAULT.min_users,
        metavar="N",
        help=f"users that each arm needs before a decision (default: {DEFAULT.min_users})",
    )


def make_rule(options: argparse.Namespace) -> Rule:
    """Make the rule that the options describe.

    Raises:
        InvalidRuleError: If it cannot decide.
    """
    chosen = options.guardrail
    guardrails = DEFAULT.guardrails if chosen is None else tuple(filter(None, chosen))
    return Rule(
        metric=options.metric,
        worthwhile_pct=options.worthwhile,
        guardrails=guardrails,
        min_users=options.min_users,
    )


def _guardrail(text: str) -> Guardrail | None:
    if text == "none":
        return None
    metric, _, tolerance = text.partition("=")
    try:
        return Guardrail(metric, float(tolerance or 0))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form METRIC=PERCENT") from None
