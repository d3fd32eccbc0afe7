"""Arrivals at a rate."""

import numpy as np
import pytest

from simulator.core.arrivals import schedule_arrivals
from simulator.core.latency import summarise_latency


def test_poisson_arrivals_have_independent_exponential_gaps() -> None:
    due = schedule_arrivals(1, np.arange(20_000), rate=50.0, arrivals="poisson")
    gaps = np.diff(due)
    assert gaps.min() > 0
    assert gaps.mean() == pytest.approx(1 / 50, rel=0.03)
    assert gaps.std() == pytest.approx(1 / 50, rel=0.03)
    assert abs(np.corrcoef(gaps[1:], gaps[:-1])[0, 1]) < 0.03


def test_fixed_arrivals_come_evenly() -> None:
    due = schedule_arrivals(1, np.arange(4), rate=8.0, arrivals="fixed")
    assert due.tolist() == [0.0, 0.125, 0.25, 0.375]


def test_the_seed_decides_when_listeners_come() -> None:
    first, again, other = (
        schedule_arrivals(seed, np.arange(100), rate=5.0, arrivals="poisson") for seed in (1, 1, 2)
    )
    assert (first == again).all()
    assert (first != other).all()


def test_latency_is_told_in_milliseconds() -> None:
    latency = summarise_latency(np.arange(1, 102) / 1000)
    assert (latency.n, latency.p50, latency.longest) == (101, 51.0, 101.0)
    assert latency.mean == pytest.approx(51.0)
    assert latency.p99 == pytest.approx(100.0)
    assert summarise_latency(np.empty(0)).n == 0
