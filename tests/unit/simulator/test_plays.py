"""Worlds around a play log, in memory."""

import numpy as np

from simulator.core.plays import (
    PlayLog,
    PlayLogParameters,
    Song,
    make_play_world,
    place_songs,
    rank_songs,
)


def make_log() -> PlayLog:
    # b is played by two users, one of them twice; a and c by one.
    return PlayLog(
        users=np.array([0, 0, 1, 1, 2], dtype=np.int32),
        songs=np.array([0, 1, 1, 1, 2], dtype=np.int32),
        counts=np.array([9, 1, 1, 4, 2], dtype=np.int32),
        song_ids=("a", "b", "c"),
    )


def test_songs_are_ranked_by_their_listeners_not_their_plays() -> None:
    log = make_log()
    assert log.count_listeners().tolist() == [1, 2, 1]
    assert rank_songs(log, np.array([True, True, True]), 3).tolist() == [1, 0, 2]
    assert rank_songs(log, np.array([True, False, True]), 3).tolist() == [0, 2]
    assert rank_songs(log, np.array([True, True, True]), 1).tolist() == [1]


def test_selecting_songs_drops_the_plays_of_the_others() -> None:
    kept = make_log().select(np.array([2, 1]))
    assert kept.song_ids == ("c", "b")
    assert kept.songs.tolist() == [1, 1, 1, 0]
    assert kept.counts.tolist() == [1, 1, 4, 2]
    assert kept.users.tolist() == [0, 1, 1, 2]
    alone = make_log().select(np.array([2]))
    assert alone.users.tolist() == [0]  # users are numbered again


def make_factors(n: int = 3_000) -> tuple[np.ndarray, np.ndarray]:
    """Make factors as a factorisation does: long for the popular, with a common part."""
    rng = np.random.default_rng(0)
    popularity = (np.arange(n) + 50.0) ** -0.75
    popularity /= popularity.sum()
    groups = rng.standard_normal((30, 100))[np.arange(n) % 30]
    factors = groups + 0.5 * rng.standard_normal((n, 100)) + 1.0
    factors *= (1_000 * popularity * rng.lognormal(0, 0.3, n))[:, None]
    return factors.astype(np.float32), popularity


def test_placed_songs_have_the_standard_norms_whatever_their_popularity() -> None:
    factors, popularity = make_factors()
    placed = place_songs(factors, popularity)
    assert placed.dtype == np.float32
    logs = np.log(np.linalg.norm(placed, axis=1))
    assert abs(logs.mean() - np.log(4.25)) < 0.01
    assert abs(logs.std() - np.hypot(0.24, 0.11)) < 0.02
    assert abs(np.corrcoef(logs, np.log(popularity))[0, 1]) < 0.2
    assert np.corrcoef(np.log(np.linalg.norm(factors, axis=1)), np.log(popularity))[0, 1] > 0.8


def test_placed_songs_keep_their_company() -> None:
    factors, popularity = make_factors()
    placed = place_songs(factors, popularity)
    directions = placed / np.linalg.norm(placed, axis=1, keepdims=True)
    alike = (directions[:-30] * directions[30:]).sum(axis=1).mean()
    unlike = (directions[:-31] * directions[31:]).sum(axis=1).mean()
    assert alike > unlike + 0.4
    assert abs(directions.mean(axis=0)).max() < 0.1  # no common part


def test_factors_of_fewer_songs_than_dimensions_can_be_placed() -> None:
    factors, popularity = make_factors(40)
    factors[7] = 0.0  # a song that nothing was learnt about
    assert np.isfinite(place_songs(factors, popularity)).all()


def test_listeners_like_what_is_popular() -> None:
    factors, popularity = make_factors()
    songs = [Song(f"S{row}", f"artist {row % 90}", f"title {row}", "jazz") for row in range(3_000)]
    n_listeners = np.maximum(1, (1e5 * popularity).astype(np.int64))
    parameters = PlayLogParameters(n_users=2_000, seed=3)
    world, _ = make_play_world(songs, factors, n_listeners, parameters=parameters)
    assert world.catalog.tracks[5].title == "title 5"
    assert world.catalog.tracks[5].genre == "jazz"
    liked = np.bincount([t for user in world.users for t in user.interests], minlength=3_000)
    assert liked[:100].mean() > 5 * liked[-1_000:].mean()
    again, _ = make_play_world(songs, factors, n_listeners, parameters=parameters)
    assert again.users == world.users
    assert (again.embeddings == world.embeddings).all()
