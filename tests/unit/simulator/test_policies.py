"""Policies of the batch."""

import numpy as np
import pytest

from simulator.core.bounds import Oracle, PerfectContext
from simulator.core.policies import Contextual, Policy, Random, StickyArtist, TopPopular
from simulator.rollout import play_batch, simulate_sessions
from tests.unit.simulator.worlds import make_flat_dynamics, make_small_dynamics

DYNAMICS = make_small_dynamics()
TOP = np.arange(20, dtype=np.int32)
TABLE = (np.arange(400)[:, None] + np.arange(1, 4)).astype(np.int32) % 400
POLICIES: list[Policy] = [
    Random(400),
    StickyArtist(DYNAMICS.artist_rows),
    TopPopular(TOP, 400),
    Contextual(TABLE, 400),
    Oracle(DYNAMICS),
    PerfectContext(DYNAMICS),
]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_no_policy_replays_a_track(policy: Policy) -> None:
    playbacks = play_batch(DYNAMICS, policy, seed=1, episodes=np.arange(60))
    pairs = set(zip(playbacks.episode.tolist(), playbacks.track.tolist(), strict=True))
    # A session that hears the whole catalogue can only repeat it.
    lengths = np.bincount(playbacks.episode)
    assert len(pairs) == np.minimum(lengths, 400).sum()


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_propensities_are_probabilities(policy: Policy) -> None:
    playbacks = play_batch(DYNAMICS, policy, seed=2, episodes=np.arange(60))
    chosen = playbacks.position > 0
    assert np.isnan(playbacks.propensity[~chosen]).all()
    assert (playbacks.propensity[chosen] > 0).all()
    assert (playbacks.propensity[chosen] <= 1).all()


def test_sticky_artist_stays_until_the_artist_is_used_up() -> None:
    playbacks = play_batch(
        DYNAMICS, StickyArtist(DYNAMICS.artist_rows), seed=1, episodes=np.arange(500)
    )
    artist = DYNAMICS.artist_rows[playbacks.track]
    inside = playbacks.position > 0
    stays = artist[1:] == artist[:-1]
    assert (stays == ~playbacks.fell_back[1:])[inside[1:]].mean() > 0.99  # random may return
    assert stays[inside[1:] & ~playbacks.fell_back[1:]].all()
    assert playbacks.fell_back.any()


def test_sticky_artist_with_replays_plays_only_one_artist() -> None:
    policy = StickyArtist(DYNAMICS.artist_rows, replays=True)
    playbacks = play_batch(DYNAMICS, policy, seed=1, episodes=np.arange(500))
    assert not playbacks.fell_back.any()
    artists = DYNAMICS.artist_rows[playbacks.track]
    firsts = np.repeat(artists[playbacks.starts], np.bincount(playbacks.episode))
    assert (artists == firsts).all()


def test_contextual_recommends_neighbours_of_the_first_track_uniformly() -> None:
    playbacks = play_batch(DYNAMICS, Contextual(TABLE, 400), seed=1, episodes=np.arange(3_000))
    first = playbacks.track[playbacks.starts]
    second = playbacks.track[playbacks.starts + 1]
    offset = (second - first) % 400
    assert set(offset) == {1, 2, 3}
    assert abs(np.bincount(offset)[1:] - 1_000).max() < 120
    assert np.allclose(playbacks.propensity[playbacks.starts + 1], 1 / 3)
    fourth = playbacks.position == 4
    assert playbacks.fell_back[fourth].all()  # three neighbours, all played


def test_contextual_of_the_last_track_walks_from_neighbour_to_neighbour() -> None:
    policy = Contextual(TABLE, 400, anchor="last")
    playbacks = play_batch(DYNAMICS, policy, seed=1, episodes=np.arange(500))
    chosen = (playbacks.position > 0) & ~playbacks.fell_back
    steps = np.diff(playbacks.track, prepend=0) % 400
    assert set(steps[chosen]) == {1, 2, 3}


@pytest.mark.parametrize(
    "policy",
    [TopPopular(TOP[:3], 400, replays=True), Contextual(TABLE, 400, replays=True)],
    ids=lambda policy: policy.name,
)
def test_a_policy_with_replays_draws_from_all_candidates_each_time(policy: Policy) -> None:
    playbacks = play_batch(DYNAMICS, policy, seed=1, episodes=np.arange(500))
    chosen = playbacks.position > 0
    assert not playbacks.fell_back.any()
    assert np.allclose(playbacks.propensity[chosen], 1 / 3)
    pairs = set(zip(playbacks.episode.tolist(), playbacks.track.tolist(), strict=True))
    assert len(pairs) < len(playbacks)


def test_top_popular_recommends_only_the_top_while_it_lasts() -> None:
    playbacks = play_batch(DYNAMICS, TopPopular(TOP, 400), seed=1, episodes=np.arange(200))
    chosen = (playbacks.position > 0) & ~playbacks.fell_back
    assert set(playbacks.track[chosen]) <= set(TOP.tolist())


def test_random_repeats_only_when_everything_is_played() -> None:
    dynamics = make_flat_dynamics(n_tracks=3, n_artists=3, bias=2.0)
    playbacks = play_batch(dynamics, Random(3), seed=0, episodes=np.arange(50))
    for start in playbacks.starts:
        assert len(set(playbacks.track[start : start + 3].tolist())) == 3
    assert np.allclose(playbacks.propensity[playbacks.position == 1], 1 / 2)
    assert np.allclose(playbacks.propensity[playbacks.position == 4], 1 / 3)


def test_who_knows_more_does_better() -> None:
    times = [
        simulate_sessions(DYNAMICS, policy, seed=1, episodes=np.arange(300)).time.mean
        for policy in (Random(400), PerfectContext(DYNAMICS), Oracle(DYNAMICS))
    ]
    assert times == sorted(times)
    assert times[2] > 3 * times[0]
