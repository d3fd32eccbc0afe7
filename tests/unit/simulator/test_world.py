"""Generated worlds."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.catalog import Track, make_catalog
from simulator.core import geometry
from simulator.core.listeners import User
from simulator.core.names import make_artist_names, make_genre_names, make_titles
from simulator.core.policies import Random
from simulator.core.words import PREPOSITIONS
from simulator.core.world import (
    WorldError,
    WorldParameters,
    interest_rows,
    make_dynamics,
    make_embeddings_for,
    make_world,
)
from simulator.rollout import simulate_sessions
from tests.unit.simulator.worlds import SMALL


def test_the_same_parameters_make_the_same_world() -> None:
    first, second = make_world(SMALL), make_world(SMALL)
    assert first.catalog.checksum == second.catalog.checksum
    assert (first.embeddings == second.embeddings).all()
    assert first.users == second.users


def test_another_seed_makes_another_world() -> None:
    other = make_world(WorldParameters(n_tracks=400, n_artists=40, n_users=60, seed=6))
    assert other.catalog.checksum != make_world(SMALL).catalog.checksum


def test_more_users_leave_the_catalogue_as_it_is() -> None:
    more = make_world(WorldParameters(n_tracks=400, n_artists=40, n_users=600, seed=5))
    assert more.catalog.checksum == make_world(SMALL).catalog.checksum
    assert (more.embeddings == make_world(SMALL).embeddings).all()


def test_sizes_are_those_asked_for() -> None:
    world = make_world(SMALL)
    assert len(world.catalog) == 400
    assert len(world.catalog.artists) == 40
    assert world.embeddings.shape == (400, 100)
    assert world.embeddings.dtype == np.float32
    assert len(world.users) == 60


@settings(max_examples=30)
@given(st.integers(1, 300), st.integers(1, 20), st.integers(0, 2**32))
def test_artist_sizes_cover_the_catalogue(n_artists: int, per_artist: int, seed: int) -> None:
    n_tracks = n_artists * per_artist
    sizes = geometry.draw_artist_sizes(n_artists, n_tracks, np.random.default_rng(seed))
    assert sizes.sum() == n_tracks
    assert sizes.min() >= 1


def test_the_largest_artist_has_about_80_of_50_000_tracks() -> None:
    sizes = geometry.draw_artist_sizes(5_000, 50_000, np.random.default_rng(0))
    assert sizes.max() == 80


def test_random_gives_the_standard_time_on_average_over_worlds() -> None:
    means = []
    for seed in range(10):
        parameters = WorldParameters(n_tracks=5_000, n_artists=500, n_users=2_000, seed=seed)
        dynamics = make_dynamics(make_world(parameters))
        summary = simulate_sessions(dynamics, Random(5_000), seed=1, episodes=np.arange(4_000))
        means.append(summary.time.mean)
    assert 2.1 < np.mean(means) < 2.25  # WORLD.md


def test_users_are_the_standard_worlds() -> None:
    users = make_world(WorldParameters(n_tracks=2_000, n_artists=200, n_users=4_000)).users
    assert {len(user.interests) for user in users} == {3}
    bias = np.array([user.consume_bias for user in users])
    sharpness = np.array([user.consume_sharpness for user in users])
    assert 0 <= bias.min() < 0.1
    assert 9.9 < bias.max() <= 10
    assert 0.5 <= sharpness.min() < 0.51
    assert 1.99 < sharpness.max() <= 2
    assert abs(np.mean(sharpness > 1) - 0.5) < 0.03
    counts = np.bincount([track for user in users for track in user.interests], minlength=2_000)
    assert counts[:200].mean() > 2 * counts[-1_000:].mean()  # popular tracks are liked more


def test_shares_of_genre_artist_and_track_are_the_calibrated_ones() -> None:
    artist_rows = np.repeat(np.arange(3_000), 3).astype(np.int32)
    genres = geometry.draw_artist_genres(3_000, 64, np.random.default_rng(1))
    seed = np.random.SeedSequence(1)
    placed = geometry.make_embeddings(artist_rows, genres, popularity=np.ones(9_000), seed=seed)
    directions = placed / np.linalg.norm(placed, axis=1, keepdims=True)
    same_artist = (directions[0::3] * directions[1::3]).sum(axis=1).mean()
    assert abs(same_artist - 0.69) < 0.04  # 0.34 + 0.35
    pairs = np.random.default_rng(2).integers(0, 9_000, (40_000, 2))
    cosine = (directions[pairs[:, 0]] * directions[pairs[:, 1]]).sum(axis=1)
    track_genres = genres[artist_rows]
    is_same = track_genres[pairs[:, 0]] == track_genres[pairs[:, 1]]
    assert abs(cosine[is_same].mean() - cosine[~is_same].mean() - 0.34) < 0.06
    assert abs(np.log(np.linalg.norm(placed, axis=1)).mean() - np.log(4.25)) < 0.15


def test_popularity_of_a_given_catalogue_follows_the_interests() -> None:
    ids = np.arange(1_000)
    counts = np.zeros(1_000, dtype=np.int64)
    counts[700] = 50
    popularity = geometry.estimate_popularity(ids, counts)
    assert popularity.sum() == pytest.approx(1)
    assert popularity.argmax() == 700
    assert (np.diff(popularity[:700]) < 0).all()


def test_a_given_catalogue_gets_embeddings_by_its_artists() -> None:
    tracks = [Track(1_000 - row, f"artist {row % 50}", f"title {row}") for row in range(500)]
    catalog = make_catalog(tracks)
    users = tuple(User(user, (1_000 - user,)) for user in range(100))
    placed = make_embeddings_for(catalog, users, 3)
    assert placed.shape == (500, 100)
    assert (placed == make_embeddings_for(catalog, users, 3)).all()
    cosine = (placed[:50] * placed[50:100]).sum(axis=1)  # the same artists
    assert cosine.mean() > (placed[:49] * placed[51:100]).sum(axis=1).mean() + 3


def test_impossible_parameters_are_refused() -> None:
    with pytest.raises(WorldError, match="artists: 20 do not fit into 10 tracks"):
        make_world(WorldParameters(n_tracks=10, n_artists=20))
    with pytest.raises(WorldError, match="tracks: 2 are fewer"):
        make_world(WorldParameters(n_tracks=2, n_artists=1))


def test_an_interest_outside_the_catalogue_is_named_with_its_user() -> None:
    catalog = make_world(SMALL).catalog
    users = (User(7, (1, 2)), User(8, (3, 400)))
    with pytest.raises(WorldError, match="user 8: interest 400 is not in the catalogue"):
        interest_rows(catalog, users)


def test_artists_of_a_large_world_are_called_differently() -> None:
    names = make_artist_names(100_000, np.random.default_rng(0))
    assert len(set(names)) == 100_000
    assert all(name == name.strip() and name[0].isupper() and len(name) < 60 for name in names)
    assert not any("{" in name or "  " in name or any(c.isdigit() for c in name) for name in names)


def test_an_artist_never_sings_two_songs_of_one_title() -> None:
    artists = [0] * 30_000 + [1] * 30_000  # far more than anyone has: titles repeat in any draw
    titles = make_titles(artists, np.random.default_rng(0))
    assert len(set(titles[:30_000])) == 30_000
    assert len(set(titles[30_000:])) == 30_000
    assert set(titles[:30_000]) & set(titles[30_000:])  # two artists may
    assert make_titles(artists, np.random.default_rng(0)) == titles


def test_titles_and_genres_read_like_names() -> None:
    titles = make_titles(range(100_000), np.random.default_rng(0))
    assert len(set(titles)) > 85_000
    assert max(Counter(titles).values()) < 50
    assert not any("{" in title or "  " in title for title in titles)
    small = words_in_lower_case(titles)
    assert small <= {*PREPOSITIONS, "and", "of", "the", "for", "in", "on", "to"}
    genres = make_genre_names(64)
    assert len(set(genres)) == 64
    assert not any("genre" in name for name in genres)


def words_in_lower_case(titles: list[str]) -> set[str]:
    return {word for title in titles for word in title.split() if word[0].islower()}
