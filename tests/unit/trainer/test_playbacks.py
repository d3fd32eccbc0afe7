"""Playbacks come into order, whatever order they are read in."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.trainer.core.errors import TrainingError
from services.trainer.core.playbacks import PLAYBACK, make_log
from tests.unit.trainer.logs import make_block_playbacks, make_blocks, make_playbacks


def test_sessions_are_numbered_by_time_and_played_by_position() -> None:
    log = make_log(
        make_playbacks(
            [
                (5, 1, 1, 11, 0.5, 40),
                (9, 0, 2, 20, 1.0, 10),
                (5, 0, 1, 10, 1.0, 30),
                (9, 1, 2, 21, 0.25, 20),
            ]
        )
    )
    assert log.sessions.tolist() == [0, 0, 1, 1]
    assert log.positions.tolist() == [0, 1, 0, 1]
    assert log.tracks.tolist() == [20, 21, 10, 11]
    assert log.times.tolist() == [1.0, 0.25, 1.0, 0.5]
    assert log.at.tolist() == [10, 20, 30, 40]
    assert (log.n_sessions, log.n_users) == (2, 2)


@given(seed=st.integers(0, 2**32 - 1))
def test_order_of_reading_changes_nothing(seed: int) -> None:
    playbacks = make_block_playbacks(make_blocks(), n_sessions=20)
    expected = make_log(playbacks)
    log = make_log(np.random.default_rng(seed).permutation(playbacks))
    for name in ("sessions", "positions", "tracks", "times"):
        assert np.array_equal(getattr(log, name), getattr(expected, name))


def test_a_position_reported_twice_counts_once() -> None:
    rows = [(1, 0, 1, 10, 1.0, 1), (1, 1, 1, 11, 0.5, 2), (1, 1, 1, 11, 0.5, 3)]
    assert make_log(make_playbacks(rows)).positions.tolist() == [0, 1]


def test_an_empty_log_is_an_error_that_says_so() -> None:
    with pytest.raises(TrainingError, match="no playbacks"):
        make_log(np.empty(0, PLAYBACK))


@pytest.mark.parametrize("wrong", [-0.01, 1.01, float("nan")])
def test_times_that_are_no_fractions_are_an_error_that_counts_them(wrong: float) -> None:
    rows = [(1, 0, 1, 10, 1.0, 1), (1, 1, 1, 11, wrong, 2), (1, 2, 1, 12, wrong, 3)]
    with pytest.raises(TrainingError, match=r"2 playbacks have times outside \[0, 1\]"):
        make_log(make_playbacks(rows))
