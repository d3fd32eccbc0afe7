"""P-values of many tests, adjusted so that many looks at nothing do not find something."""

from collections.abc import Sequence


def adjust_holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjust so that a level bounds the probability of any false discovery (Holm).

    Args:
        p_values: Of the tests; None where one could not be made, which counts as no test.

    Source: Holm (1979), A Simple Sequentially Rejective Multiple Test Procedure.
    """
    order = _ascending(p_values)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p_value, index) in enumerate(order):
        largest = max(largest, min((len(order) - rank) * p_value, 1.0))
        adjusted[index] = largest
    return adjusted


def adjust_benjamini_hochberg(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjust so that a level bounds the expected share of false discoveries among discoveries.

    Args:
        p_values: As of `adjust_holm`.

    Source: Benjamini & Hochberg (1995), Controlling the False Discovery Rate.
    """
    order = _ascending(p_values)
    adjusted: list[float | None] = [None] * len(p_values)
    smallest = 1.0
    for rank, (p_value, index) in reversed(list(enumerate(order, start=1))):
        smallest = min(smallest, len(order) / rank * p_value)
        adjusted[index] = smallest
    return adjusted


def _ascending(p_values: Sequence[float | None]) -> list[tuple[float, int]]:
    return sorted((p_value, i) for i, p_value in enumerate(p_values) if p_value is not None)
