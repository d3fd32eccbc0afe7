"""What random play comes to, expected from the embeddings and played."""

import numpy as np
import pytest

from simulator.core.calibration import (
    LEAST_TIME,
    MOST_TIME,
    between_worlds,
    expect_random_time,
    find_scale,
)
from simulator.core.policies import Random
from simulator.core.world import WorldParameters, make_dynamics, make_world
from simulator.rollout import simulate_sessions


@pytest.mark.parametrize("seed", [1, 4])
def test_expectation_is_what_play_comes_to(seed: int) -> None:
    parameters = WorldParameters(n_tracks=3_000, n_artists=1_500, n_users=500, seed=seed)
    dynamics = make_dynamics(make_world(parameters))
    expected = [
        expect_random_time(dynamics.embeddings, dynamics.listeners, np.random.default_rng(probe))
        for probe in range(4)
    ]
    played = simulate_sessions(dynamics, Random(3_000), seed=1, episodes=np.arange(20_000))
    assert abs(np.mean(expected) - played.time.mean) < 0.06


@pytest.mark.parametrize("factor", [0.4, 1.9])
def test_the_scale_makes_random_play_a_standard_worlds(factor: float) -> None:
    dynamics = make_dynamics(make_world(WorldParameters(n_tracks=2_000, n_artists=200)))
    embeddings = dynamics.embeddings * np.float32(factor)
    scale = find_scale(embeddings, dynamics.listeners, np.random.default_rng(0))
    scaled = embeddings * np.float32(scale)
    expected = expect_random_time(scaled, dynamics.listeners, np.random.default_rng(1))
    assert LEAST_TIME < expected < MOST_TIME
    assert scale == round(scale, 4)


def test_a_scale_that_cannot_be_found_is_a_bound() -> None:
    dynamics = make_dynamics(make_world(WorldParameters(n_tracks=400, n_artists=40, n_users=50)))
    nothing = np.zeros_like(dynamics.embeddings)
    assert find_scale(nothing, dynamics.listeners, np.random.default_rng(0)) == pytest.approx(
        8, rel=0.01
    )


def test_worlds_differ_less_the_larger_they_are() -> None:
    sizes = [(64, 50, 100), (64, 50, 1_000), (64, 500, 1_000), (64, 5_000, 10_000)]
    deviations = [between_worlds(*size) for size in sizes]
    assert deviations == sorted(deviations, reverse=True)


def test_the_deviation_between_worlds_is_the_measured_one() -> None:
    times = []
    for seed in range(24):
        parameters = WorldParameters(n_tracks=500, n_artists=50, n_users=100, seed=seed)
        dynamics = make_dynamics(make_world(parameters))
        times.append(
            expect_random_time(dynamics.embeddings, dynamics.listeners, np.random.default_rng(seed))
        )
    ratio = np.var(times, ddof=1) / between_worlds(64, 50, 100) ** 2
    assert 0.4 < ratio < 2.3  # chi-square of 23 degrees of freedom, 99.5% each side about
