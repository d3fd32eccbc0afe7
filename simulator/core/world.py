"""A world: catalogue, embeddings and users; generated, or made around a given catalogue."""

from typing import Annotated

import msgspec
import numpy as np

from shared.catalog import Catalog, Track, make_catalog
from simulator.core import geometry
from simulator.core.dynamics import Dynamics
from simulator.core.listeners import (
    Float32Array,
    FloatArray,
    ListenerDefaults,
    User,
    make_listeners,
)
from simulator.core.names import make_artist_names, make_genre_names, make_titles

_N_INTERESTS = 3
_MAX_BIAS = 10.0
_MAX_SHARPNESS = 2.0

Count = Annotated[int, msgspec.Meta(ge=1)]


class WorldError(ValueError):
    """A world that cannot be used; the message names the file or parameter and the fault."""


class WorldParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a generated world is a function of.

    Attributes:
        n_tracks: Size of the catalogue.
        n_artists: Each has at least one track.
        n_users: Listeners.
        n_genres: Genres that artists are drawn from.
        seed: Of everything.
    """

    n_tracks: Count = 50_000
    n_artists: Count = 5_000
    n_users: Count = 10_000
    n_genres: Count = geometry.N_GENRES
    seed: int = 0


class World(msgspec.Struct, frozen=True):
    """A world.

    Attributes:
        catalog: The tracks.
        embeddings: float32 (n_tracks, dim), by catalogue row.
        users: The listeners.
    """

    catalog: Catalog
    embeddings: Float32Array
    users: tuple[User, ...]


def make_world(parameters: WorldParameters) -> World:
    """Generate a world.

    Raises:
        WorldError: If there are more artists than tracks, or too few tracks for the interests.
    """
    if not parameters.n_artists <= parameters.n_tracks:
        raise WorldError(
            f"artists: {parameters.n_artists} do not fit into {parameters.n_tracks} tracks"
        )
    if parameters.n_tracks < _N_INTERESTS:
        raise WorldError(f"tracks: {parameters.n_tracks} are fewer than a user's interests")
    seeds = np.random.SeedSequence(parameters.seed % 2**64).spawn(4)
    catalog_rng = np.random.default_rng(seeds[0])
    sizes = geometry.draw_artist_sizes(parameters.n_artists, parameters.n_tracks, catalog_rng)
    track_artist = catalog_rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    genres = geometry.draw_artist_genres(parameters.n_artists, parameters.n_genres, catalog_rng)
    popularity = geometry.draw_popularity(parameters.n_tracks, catalog_rng)
    names_rng = np.random.default_rng(seeds[1])
    artists = make_artist_names(parameters.n_artists, names_rng)
    titles = make_titles(track_artist.tolist(), names_rng)
    genre_names = make_genre_names(parameters.n_genres)
    tracks = [
        Track(row, artists[artist], title, genre_names[genre])
        for row, (artist, title, genre) in enumerate(
            zip(track_artist.tolist(), titles, genres[track_artist].tolist(), strict=True)
        )
    ]
    return World(
        make_catalog(tracks),
        geometry.make_embeddings(track_artist, genres, popularity=popularity, seed=seeds[2]),
        make_users(parameters.n_users, popularity, np.random.default_rng(seeds[3])),
    )


def make_users(n_users: int, popularity: FloatArray, rng: np.random.Generator) -> tuple[User, ...]:
    """Draw listeners of a generated catalogue, whose track ids are its rows.

    Args:
        n_users: How many.
        popularity: Probability that an interest is a track, float64 (n_tracks,).
        rng: Of the users.
    """
    interests = rng.choice(len(popularity), (n_users, _N_INTERESTS), p=popularity)
    biases = rng.uniform(0.0, _MAX_BIAS, n_users)
    sharpness = rng.uniform(1.0, _MAX_SHARPNESS, n_users)
    sharpness = np.where(rng.random(n_users) < 0.5, sharpness, 1.0 / sharpness)
    return tuple(
        User(user, tuple(liked), bias, sharp)
        for user, (liked, bias, sharp) in enumerate(
            zip(interests.tolist(), biases.tolist(), sharpness.tolist(), strict=True)
        )
    )


def make_embeddings_for(catalog: Catalog, users: tuple[User, ...], seed: int) -> Float32Array:
    """Generate embeddings for a given catalogue: its artists, and popularity by users' interests.

    Artists' genres are drawn, for the geometry alone.

    Returns:
        float32 (n_tracks, dim).
    """
    seeds = np.random.SeedSequence(seed % 2**64).spawn(2)
    rows = np.concatenate(interest_rows(catalog, users))
    counts = np.bincount(rows, minlength=len(catalog))
    genres = geometry.draw_artist_genres(
        len(catalog.artists), geometry.N_GENRES, np.random.default_rng(seeds[0])
    )
    popularity = geometry.estimate_popularity(catalog.track_ids, counts)
    return geometry.make_embeddings(
        catalog.artist_rows, genres, popularity=popularity, seed=seeds[1]
    )


def interest_rows(catalog: Catalog, users: tuple[User, ...]) -> list[np.ndarray]:
    """Map users' interests to catalogue rows.

    Raises:
        WorldError: If an interest is not in the catalogue.
    """
    lengths = [len(user.interests) for user in users]
    ids = np.array([track for user in users for track in user.interests], dtype=np.int64)
    rows = catalog.rows_of(ids)
    if (rows < 0).any():
        place = int((rows < 0).argmax())
        owner = int(np.searchsorted(np.cumsum(lengths), place, side="right"))
        raise WorldError(f"user {users[owner].user}: interest {ids[place]} is not in the catalogue")
    return np.split(rows, np.cumsum(lengths)[:-1])


def make_dynamics(world: World, defaults: ListenerDefaults | None = None) -> Dynamics:
    """Bring a world to life.

    Raises:
        WorldError: If an interest is not in the catalogue.
    """
    rows = interest_rows(world.catalog, world.users)
    return Dynamics(
        embeddings=world.embeddings,
        artist_rows=world.catalog.artist_rows,
        listeners=make_listeners(world.users, rows, defaults or ListenerDefaults()),
    )
