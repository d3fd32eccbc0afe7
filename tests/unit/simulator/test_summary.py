"""Summaries of sessions."""

import math

import numpy as np
import pytest

from simulator.commands.world import find_faults
from simulator.core.summary import summarise
from simulator.live import Result, summarise_results


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


def test_a_world_that_is_not_standard_is_told_why() -> None:
    rng = np.random.default_rng(0)
    tracks = rng.poisson(7, 20_000)
    assert find_faults(summarise(tracks - 4.83, tracks), budget=5.0) == [
        "tracks exceed time by 4.830 ± 0.000 (median 4.83), not by the budget 5"
    ]
    faults = find_faults(summarise(tracks.astype(float), tracks), budget=0.0)
    assert len(faults) == 1
    assert "outside 1.9 to 2.45" in faults[0]
