"""Playbacks as columns, and as the trainer reads them."""

import numpy as np

from deploy.loop.plays import Plays, from_rollout, join_plays, to_trainer_log
from services.trainer.core.playbacks import make_log
from shared.catalog import Track, make_catalog
from simulator.history import play_history
from tests.unit.deploy.loop.worlds import PLAN, make_stage

CATALOG = make_catalog(Track(10 * row, f"artist {row % 3}", f"title {row}") for row in range(9))


def make_plays(first_episode: int) -> Plays:
    return Plays(
        episodes=first_episode + np.arange(2),
        users=np.array([7, 4], np.int32),
        lengths=np.array([3, 2], np.int32),
        tracks=np.array([0, 5, 8, 1, 2], np.int32),
        hundredths=np.array([100, 25, 0, 100, 99], np.uint8),
    )


def test_a_session_comes_to_the_sum_of_its_times() -> None:
    visits = make_plays(0).visits
    assert visits.times.tolist() == [1.25, 1.99]
    assert visits.lengths.tolist() == [3, 2]
    assert len(visits) == 2


def test_a_long_session_does_not_overflow_its_hundredths() -> None:
    n = 5_000
    plays = Plays(
        episodes=np.arange(1),
        users=np.zeros(1, np.int32),
        lengths=np.array([n], np.int32),
        tracks=np.zeros(n, np.int32),
        hundredths=np.full(n, 100, np.uint8),
    )
    assert plays.visits.times.tolist() == [n]


def test_the_trainer_reads_every_session_whole_and_in_order_of_days() -> None:
    log = make_log(to_trainer_log([make_plays(100), make_plays(500)], CATALOG))
    assert log.n_sessions == 4
    assert log.sessions.tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]
    assert log.positions.tolist() == [0, 1, 2, 0, 1] * 2
    assert log.users.tolist() == [7, 7, 7, 4, 4] * 2
    assert log.tracks.tolist() == [0, 50, 80, 10, 20] * 2
    assert log.times.tolist() == np.array([1, 0.25, 0, 1, 0.99] * 2, np.float32).tolist()


def test_a_rollout_loses_nothing() -> None:
    _, theatre = make_stage()
    played = play_history(theatre.dynamics, seed=PLAN.seed, n_sessions=50)
    plays = join_plays([from_rollout(part) for part in played.parts])
    assert sorted(plays.episodes.tolist()) == list(range(50))
    times = np.concatenate([part.time for part in played.parts])
    assert (plays.hundredths / 100 == times).all()
    assert len(plays) == played.n_playbacks == plays.lengths.sum()
