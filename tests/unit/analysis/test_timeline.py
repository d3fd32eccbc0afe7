from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.core.timeline import (
    Step,
    Timeline,
    accumulate_effects,
    choose_width,
    count_sessions,
)

START = datetime(2026, 3, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)


def make_step(arm: str, hour: int, *, values: list[float], before: list[float] = []) -> Step:  # noqa: B006
    """Make what users with these new values add, of whom the first had the values before."""
    return Step(
        treatment=arm,
        metric="time",
        start_at=START + hour * HOUR,
        n_sessions=len(values),
        n_users=len(values) - len(before),
        total=sum(values) - sum(before),
        total_squares=sum(v * v for v in values) - sum(v * v for v in before),
    )


def make_timeline(*steps: Step) -> Timeline:
    return Timeline(width=HOUR, steps=steps)


def test_an_effect_is_as_of_the_end_of_its_interval() -> None:
    timeline = make_timeline(
        make_step("C", 0, values=[1.0, 3.0]),
        make_step("T1", 0, values=[2.0, 4.0]),
        make_step("T1", 2, values=[6.0], before=[2.0]),  # a user whose time grew from 2 to 6
    )
    first, last = accumulate_effects(timeline, control="C", metric="time")["T1"]
    assert (first.at, last.at) == (START + HOUR, START + 3 * HOUR)
    assert first.effect.treatment_mean == pytest.approx(3.0)
    assert first.effect.effect_pct == pytest.approx(50.0)
    assert last.effect.treatment_mean == pytest.approx(5.0)  # of 6 and 4
    assert last.effect.control_mean == pytest.approx(2.0)
    assert last.effect.n_treatment == 2


def test_before_anybody_there_is_no_effect() -> None:
    timeline = make_timeline(
        make_step("C", 0, values=[1.0, 2.0]), make_step("T1", 1, values=[1.0, 3.0])
    )
    first, _ = accumulate_effects(timeline, control="C", metric="time")["T1"]
    assert first.effect.effect_pct is None
    assert first.effect.reason == "no user in the treatment"


def test_without_a_control_there_are_no_effects() -> None:
    timeline = make_timeline(make_step("T1", 0, values=[1.0]))
    assert accumulate_effects(timeline, control="C", metric="time") == {}


def test_an_interval_without_sessions_of_an_arm_counts_none() -> None:
    timeline = make_timeline(
        make_step("T10", 1, values=[1.0, 1.0]),
        make_step("C", 0, values=[1.0]),
        make_step("T2", 0, values=[1.0]),
    )
    assert count_sessions(timeline) == {"C": (1, 0), "T2": (1, 0), "T10": (0, 2)}
    assert list(count_sessions(timeline)) == ["C", "T2", "T10"]


@given(
    st.lists(st.floats(0, 100), min_size=2, max_size=20),
    st.lists(st.floats(0, 100), min_size=2, max_size=20),
)
def test_the_variance_is_that_of_the_values(first: list[float], later: list[float]) -> None:
    timeline = make_timeline(
        make_step("C", 0, values=first),
        make_step("T1", 0, values=first),
        make_step("T1", 1, values=later, before=first[: len(later)]),
    )
    values = later + first[len(later) :]
    effect = accumulate_effects(timeline, control="C", metric="time")["T1"][-1].effect
    assert effect.n_treatment == len(values)
    assert effect.treatment_mean == pytest.approx(sum(values) / len(values), abs=1e-9)


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=5000)), st.integers(1, 100))
def test_so_many_intervals_are_enough(length: timedelta, n_intervals: int) -> None:
    width = choose_width(length, n_intervals=n_intervals)
    assert width * n_intervals >= length
    assert width >= timedelta(seconds=1)
