"""Summaries of sessions."""

import math

import numpy as np
import pytest

from simulator.commands.world import find_faults
from simulator.core.summary import Summary, summarise
from simulator.results import Result, summarise_results


def test_summary_has_means_errors_and_medians() -> None:
    summary = summarise(np.array([1.0, 2.0, 6.0]), np.array([5, 7, 12]))
    assert summary.n_sessions == 3
    assert summary.time.mean == pytest.approx(3.0)
    assert summary.time.standard_error == pytest.approx(math.sqrt(7 / 3))
    assert summary.time.median == 2.0
    assert summary.tracks.mean == pytest.approx(8.0)
    assert summary.excess.mean == pytest.approx(5.0)


def test_no_sessions_have_no_mean() -> None:
    summary = summarise(np.empty(0), np.empty(0, dtype=np.int64))
    assert summary.n_sessions == 0
    assert math.isnan(summary.time.mean)


def test_the_order_of_finishing_does_not_change_a_summary() -> None:
    results = [Result(i, i, 0.1 * i, i) for i in range(50)]
    assert summarise_results(results) == summarise_results(reversed(results))


def make_summary(time: float, excess: float = 5.0) -> Summary:
    """Make a summary of sessions that a fixed number is added to."""
    tracks = np.random.default_rng(0).poisson(7, 20_000)
    times = tracks - tracks.mean() + time
    return summarise(times, times + excess + 1e-3 * np.sin(np.arange(20_000)))


def test_a_standard_worlds_numbers_have_no_fault() -> None:
    for time in (2.10, 2.17, 2.25):
        assert find_faults(make_summary(time), between_worlds=0.0, budget=5.0) == []


@pytest.mark.parametrize(("time", "between"), [(2.0, 0.0), (2.35, 0.0), (1.95, 0.05), (2.4, 0.05)])
def test_a_world_that_is_not_standard_is_told_why(time: float, between: float) -> None:
    (fault,) = find_faults(make_summary(time), between_worlds=between, budget=5.0)
    assert fault.startswith(f"random gives {time:.3f}")
    assert "outside" in fault


def test_a_small_world_may_lie_beside_the_standard_by_two_deviations() -> None:
    assert find_faults(make_summary(2.4), between_worlds=0.1, budget=5.0) == []
    assert find_faults(make_summary(1.9), between_worlds=0.1, budget=5.0) == []
    assert find_faults(make_summary(2.5), between_worlds=0.1, budget=5.0) != []


def test_tracks_that_do_not_exceed_time_by_the_budget_are_a_fault() -> None:
    (fault,) = find_faults(make_summary(2.15, excess=4.83), between_worlds=0.1, budget=5.0)
    assert fault.startswith("tracks exceed time by 4.830")
    assert fault.endswith("not by the budget 5")
