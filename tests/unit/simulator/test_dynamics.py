"""The listener: botify's, number for number."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.core.dynamics import Dynamics, listened_time
from simulator.core.live_session import open_session
from simulator.core.policies import Policy, Random, StickyArtist
from simulator.rollout import Playbacks, play_batch, simulate, simulate_sessions
from tests.unit.simulator.reference import (
    Recommend,
    play_reference,
    recommend_random,
    recommend_sticky,
)
from tests.unit.simulator.worlds import make_flat_dynamics, make_small_dynamics

DYNAMICS = make_small_dynamics()


def rows_of(playbacks: Playbacks, episode: int) -> Playbacks:
    mask = playbacks.episode == episode
    names = ("episode", "user", "position", "track", "time", "propensity", "fell_back")
    columns = {name: getattr(playbacks, name)[mask] for name in names}
    return Playbacks(**columns, recommender=playbacks.recommender)


@pytest.mark.parametrize(
    ("policy", "recommend"),
    [
        (Random(DYNAMICS.n_tracks), recommend_random),
        (StickyArtist(DYNAMICS.artist_rows), recommend_sticky),
    ],
)
def test_batch_equals_the_plain_loop_number_for_number(
    policy: Policy, recommend: Recommend
) -> None:
    playbacks = play_batch(DYNAMICS, policy, seed=3, episodes=np.arange(150))
    for episode in range(150):
        session = play_reference(DYNAMICS, recommend, seed=3, episode=episode)
        played = rows_of(playbacks, episode)
        assert played.track.tolist() == session.tracks
        assert played.time.tolist() == session.times
        assert set(played.user) == {DYNAMICS.listeners.ids[session.user]}
        assert played.position.tolist() == list(range(len(session.tracks)))


def test_live_session_equals_its_row_of_a_batch_bit_for_bit() -> None:
    playbacks = play_batch(
        DYNAMICS, StickyArtist(DYNAMICS.artist_rows), seed=11, episodes=np.arange(200)
    )
    for episode in range(200):
        played = rows_of(playbacks, episode)
        session = open_session(DYNAMICS, 11, episode)
        assert (session.track, session.time) == (played.track[0], 1.0)
        for track, time in zip(played.track[1:], played.time[1:], strict=True):
            assert not session.is_over
            assert session.listen(int(track)) == time
        assert session.is_over
        assert session.user == played.user[0]
        assert session.n_tracks == len(played)
        assert session.total_time == pytest.approx(played.time.sum())


@settings(max_examples=20)
@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=30, unique=True), st.data())
def test_episodes_do_not_depend_on_the_batch(episodes: list[int], data: st.DataObject) -> None:
    policy = Random(DYNAMICS.n_tracks)
    together = play_batch(DYNAMICS, policy, seed=1, episodes=np.array(episodes))
    alone = data.draw(st.sampled_from(episodes))
    single = play_batch(make_small_dynamics(), policy, seed=1, episodes=np.array([alone]))
    same = rows_of(together, alone)
    assert same.track.tolist() == single.track.tolist()
    assert same.time.tolist() == single.time.tolist()


def test_tracks_exceed_time_by_the_budget_for_every_policy() -> None:
    for policy in (Random(DYNAMICS.n_tracks), StickyArtist(DYNAMICS.artist_rows)):
        summary = simulate_sessions(DYNAMICS, policy, seed=2, episodes=np.arange(20_000))
        assert abs(summary.excess.mean - 5.0) < 4 * summary.excess.standard_error


def test_artist_discount_counts_the_first_track_too() -> None:
    session = open_session(make_flat_dynamics(bias=-3.0, budget=50), 0, 0)
    artist = session.track % 4
    others = [row for row in range(12) if row % 4 == artist and row != session.track]
    raw = 1 / (1 + np.exp(-3.0))
    assert session.listen(others[0]) == round(raw * 0.8, 2)
    assert session.listen(others[1]) == round(raw * 0.8**2, 2)
    assert session.listen((artist + 1) % 4) == round(raw, 2)


def test_a_repeat_plays_nothing_and_costs_budget() -> None:
    session = open_session(make_flat_dynamics(bias=-100.0, budget=2), 0, 0)
    assert session.listen(session.track) == 0.0
    assert not session.is_over
    assert session.listen(session.track) == 0.0
    assert session.is_over


def test_a_track_heard_in_full_costs_nothing() -> None:
    dynamics = make_flat_dynamics(n_tracks=100, n_artists=100, bias=-100.0, budget=1)
    session = open_session(dynamics, 0, 0)
    for row in set(range(100)) - {session.track}:
        assert session.listen(row) == 1.0
    assert not session.is_over


@given(st.floats(-1e4, 1e4), st.floats(-50, 50), st.floats(0.1, 10), st.integers(0, 100))
def test_listened_time_is_a_fraction_in_hundredths(
    scores: float, bias: float, sharpness: float, n_same: int
) -> None:
    time = float(
        listened_time(scores, bias=bias, sharpness=sharpness, gamma=0.8, n_same_artist=n_same)
    )
    assert 0.0 <= time <= 1.0
    assert time == round(time, 2)


def test_first_track_is_among_the_nearest_of_the_interest() -> None:
    sessions = DYNAMICS.open_sessions(4, np.arange(300))
    scores = DYNAMICS.embeddings[sessions.interests] @ DYNAMICS.embeddings.T
    first = sessions.tracks[:, 0]
    rank = (scores > scores[np.arange(300), first][:, None]).sum(axis=1)
    assert rank.max() == 9  # 10 nearest, every one of them possible
    assert len(np.unique(rank)) == 10


def test_users_and_their_interests_are_drawn_evenly() -> None:
    sessions = DYNAMICS.open_sessions(4, np.arange(60_000))
    counts = np.bincount(sessions.users, minlength=60)
    assert abs(counts - 1_000).max() < 150
    interests = DYNAMICS.listeners.interests[sessions.users]
    which = (interests == sessions.interests[:, None]).argmax(axis=1)
    assert which.min() == 0
    assert which.max() == 2


def test_batches_split_episodes_and_lose_none() -> None:
    policy = Random(DYNAMICS.n_tracks)
    policy.batch_size = 64
    batches = list(simulate(DYNAMICS, policy, seed=0, episodes=np.arange(150)))
    assert [len(batch.starts) for batch in batches] == [64, 64, 22]
    assert np.unique(np.concatenate([b.episode for b in batches])).tolist() == list(range(150))


def test_neighbours_do_not_depend_on_what_else_is_asked() -> None:
    together: Dynamics = make_small_dynamics()
    alone: Dynamics = make_small_dynamics()
    rows = np.arange(400, dtype=np.int32)
    found = together.nearest.find(rows)
    assert all((alone.nearest.find(rows[i : i + 1])[0] == found[i]).all() for i in range(400))
    scores = together.embeddings @ together.embeddings.T
    best = np.sort(scores, axis=1)[:, ::-1][:, :10]
    assert np.allclose(np.take_along_axis(scores, found, axis=1), best, rtol=1e-5)
