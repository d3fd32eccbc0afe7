"""Pairs are of a session's first track and each later one."""

import pytest

from services.trainer.core.errors import TrainingError
from services.trainer.core.pairs import make_pairs
from services.trainer.core.playbacks import make_log
from shared.catalog import Catalog, Track, make_catalog
from tests.unit.trainer.logs import make_block_playbacks, make_blocks, make_playbacks


def make_small_catalog() -> Catalog:
    return make_catalog(Track(track=10 * row, artist="a", title="t") for row in range(5))


def test_first_track_is_the_anchor_of_all_that_follow() -> None:
    rows = [(1, 0, 1, 10, 1.0, 1), (1, 1, 1, 20, 0.5, 2), (1, 2, 1, 40, 0.25, 3)]
    rows += [(2, 0, 2, 30, 1.0, 4), (2, 1, 2, 0, 0.75, 5)]
    pairs, _ = make_pairs(make_log(make_playbacks(rows)), make_small_catalog())
    assert pairs.anchors.tolist() == [1, 1, 3]
    assert pairs.tracks.tolist() == [2, 4, 0]
    assert pairs.times.tolist() == [0.5, 0.25, 0.75]
    assert pairs.sessions.tolist() == [0, 0, 1]


def test_what_cannot_be_paired_is_dropped_and_counted() -> None:
    rows = [(1, 0, 1, 10, 1.0, 1), (1, 1, 1, 99, 0.5, 2), (1, 2, 1, 40, 0.25, 3)]
    rows += [(2, 3, 2, 30, 1.0, 4), (2, 4, 2, 0, 0.75, 5)]  # cut by the window
    rows += [(3, 0, 3, 98, 1.0, 6), (3, 1, 3, 20, 0.5, 7)]  # an unknown first track
    rows += [(4, 0, 4, 20, 1.0, 8), (4, 1, 4, 20, 0.0, 9)]  # the first track again
    pairs, counts = make_pairs(make_log(make_playbacks(rows)), make_small_catalog())
    assert pairs.tracks.tolist() == [4]
    assert (counts.unknown, counts.headless, counts.repeats) == (2, 3, 1)


def test_a_log_of_another_catalogue_is_refused() -> None:
    rows = [(1, 0, 1, 11, 1.0, 1), (1, 1, 1, 12, 0.5, 2), (2, 0, 2, 10, 1.0, 3)]
    with pytest.raises(TrainingError, match="another catalogue: 67%"):
        make_pairs(make_log(make_playbacks(rows)), make_small_catalog())


def test_one_user_is_not_enough() -> None:
    rows = [(1, 0, 7, 10, 1.0, 1), (1, 1, 7, 20, 0.5, 2)]
    with pytest.raises(TrainingError, match="one user"):
        make_pairs(make_log(make_playbacks(rows)), make_small_catalog())


def test_sessions_of_one_track_teach_nothing() -> None:
    rows = [(1, 0, 1, 10, 1.0, 1), (2, 0, 2, 20, 1.0, 2)]
    with pytest.raises(TrainingError, match="another after it"):
        make_pairs(make_log(make_playbacks(rows)), make_small_catalog())


def test_pairs_are_cut_between_sessions() -> None:
    catalog = make_blocks()
    pairs, _ = make_pairs(make_log(make_block_playbacks(catalog, n_sessions=40)), catalog)
    early, middle, late = pairs.between(0, 30), pairs.between(30, 35), pairs.between(35, 40)
    assert len(early) + len(middle) + len(late) == len(pairs)
    assert early.sessions.max() < 30 <= middle.sessions.min()
    assert middle.sessions.max() < 35 <= late.sessions.min()
