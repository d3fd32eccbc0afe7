import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.core.wording import (
    describe_bounds,
    describe_change,
    describe_interval,
    describe_tick,
)


@pytest.mark.parametrize(
    ("percent", "told"),
    [
        (None, "—"),
        (math.inf, "—"),
        (0.0, "+0.00%"),
        (-0.001, "+0.00%"),
        (12.345, "+12.35%"),
        (-50.0, "-50.00%"),
        (-100.0, "-100.0%"),
        (250.0, "+250.0%"),
        (899.9, "+899.9%"),
        (900.0, "×10.0"),
        (1680.8, "×17.8"),
        (4700.0, "×48.0"),
        (828_716.0, "×8,288"),
        (2e9, ">×1,000,000"),
    ],
)
def test_a_change_is_told_in_percent_up_to_ten_times_and_as_a_factor_beyond(
    percent: float | None, told: str
) -> None:
    assert describe_change(percent) == told


def test_both_ends_of_an_interval_are_told_in_one_unit() -> None:
    assert describe_interval(-10.0, 20.0) == "-10.00% to +20.00%"
    assert describe_interval(1680.8, 2681.7) == "×17.8 to ×27.8"
    assert describe_interval(-50.0, 1200.0) == "×0.50 to ×13.0"
    assert describe_bounds(450.0, 1110.0) == ("×5.50", "×12.1")
    assert describe_interval(None, 20.0) == "—"


def test_a_change_has_the_unit_of_the_interval_beside_it() -> None:
    assert describe_change(37.19, upper=1030.0) == "×1.37"
    assert describe_change(37.19, upper=90.0) == "+37.19%"
    assert describe_change(37.19, upper=None) == "+37.19%"


def test_ticks_are_short() -> None:
    assert [describe_tick(tick) for tick in (-90, 0, 50, 900, 49_900)] == [
        "-90%", "0", "+50%", "×10", "×500",
    ]  # fmt: skip


@given(percent=st.floats(-100, 1e15))
def test_no_change_takes_more_than_eleven_characters(percent: float) -> None:
    told = describe_change(percent)
    assert len(told) <= 11
    assert re.fullmatch(r"[+-]\d{1,3}\.\d{1,2}%|>?×[\d,]+(\.\d)?", told)
