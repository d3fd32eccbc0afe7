"""Where tracks lie: embeddings in levels of genre, artist and track; and how popular they are."""

import numpy as np
import numpy.typing as npt

from simulator.core.listeners import Float32Array, FloatArray, IntArray

DIM = 100
N_GENRES = 64

# The standard world, calibrated on what botify published: WORLD.md.
_SPECTRUM_EXPONENT = 0.67
_GENRE_SHARE, _ARTIST_SHARE, _TRACK_SHARE = 0.34, 0.35, 0.31
_NORM = 4.25
_NORM_POPULARITY, _NORM_GENRE, _NORM_TRACK = 0.03, 0.24, 0.11
_GENRE_OFFSET = 7.5
_POPULARITY_EXPONENT, _POPULARITY_OFFSET, _POPULARITY_SPREAD = -0.75, 50, 0.8
_ARTIST_EXPONENT, _ARTIST_OFFSET, _ARTIST_SPREAD = -0.75, 60, 1.0
_LARGEST_ARTIST = 8  # times the mean: 80 tracks where botify's 50,000 have 5,000 artists

_BLOCK = 65_536


def draw_artist_genres(n_artists: int, n_genres: int, rng: np.random.Generator) -> IntArray:
    """Draw a genre per artist, int32 (n_artists,)."""
    weights = 1.0 / (np.arange(n_genres) + _GENRE_OFFSET)
    genres = rng.choice(n_genres, n_artists, p=weights / weights.sum())
    return genres.astype(np.int32)


def draw_artist_sizes(n_artists: int, n_tracks: int, rng: np.random.Generator) -> IntArray:
    """Draw how many tracks each artist has: a power law with noise, at least one each.

    Returns:
        int32 (n_artists,), summing to n_tracks.
    """
    noise = rng.lognormal(0.0, _ARTIST_SPREAD, n_artists)
    weights = (np.arange(n_artists) + _ARTIST_OFFSET) ** _ARTIST_EXPONENT * noise
    largest = max(2, -(-_LARGEST_ARTIST * n_tracks // n_artists))
    sizes = np.ones(n_artists, dtype=np.int64)
    while (missing := n_tracks - int(sizes.sum())) > 0:
        weights = np.where(sizes < largest, weights, 0.0)
        drawn = rng.multinomial(missing, weights / weights.sum())
        sizes = np.minimum(sizes + drawn, largest)
    return sizes.astype(np.int32)


def draw_popularity(n_tracks: int, rng: np.random.Generator) -> FloatArray:
    """Draw the popularity of a generated catalogue, falling with the track id; sums to 1."""
    noise = rng.lognormal(0.0, _POPULARITY_SPREAD, n_tracks)
    popularity = _power_law(np.arange(n_tracks)) * noise
    popularity /= popularity.sum()
    return popularity


def estimate_popularity(
    track_ids: npt.NDArray[np.integer], interest_counts: npt.NDArray[np.integer]
) -> FloatArray:
    """Estimate the popularity of a given catalogue from its users' interests; sums to 1.

    Counts are shrunk to a power law in the track id: Poisson counts, a gamma prior of shape 1.
    """
    prior = _power_law(track_ids)
    prior *= max(int(interest_counts.sum()), 1) / prior.sum()
    posterior: FloatArray = prior * (1.0 + interest_counts) / (1.0 + prior)
    posterior /= posterior.sum()
    return posterior


def make_embeddings(
    artist_rows: IntArray,
    artist_genres: IntArray,
    *,
    popularity: FloatArray,
    seed: np.random.SeedSequence,
) -> Float32Array:
    """Place tracks.

    Args:
        artist_rows: Artist per track, int32 (n_tracks,).
        artist_genres: Genre per artist, int32 (n_artists,).
        popularity: Per track, positive, float64 (n_tracks,).
        seed: Of this world's geometry.

    Returns:
        float32 (n_tracks, DIM).
    """
    rng = np.random.default_rng(seed)
    n_tracks, n_genres = len(artist_rows), int(artist_genres.max()) + 1
    scale = spectrum(DIM).astype(np.float32)
    genres = _draw_level(n_genres, _GENRE_SHARE * scale**2, rng)
    artists = _draw_level(len(artist_genres), _ARTIST_SHARE * scale**2, rng)
    artists += genres[artist_genres]
    norms = _draw_norms(artist_genres[artist_rows], popularity, rng)
    embeddings = np.empty((n_tracks, DIM), dtype=np.float32)
    for start in range(0, n_tracks, _BLOCK):
        rows = slice(start, min(start + _BLOCK, n_tracks))
        block = _draw_level(rows.stop - start, _TRACK_SHARE * scale**2, rng)
        block += artists[artist_rows[rows]]
        block *= (norms[rows] / np.linalg.norm(block, axis=1))[:, None]
        embeddings[rows] = block
    return embeddings


def spectrum(dim: int) -> FloatArray:
    """Return the standard deviation of each coordinate of a direction, float64 (dim,)."""
    scale = np.arange(1, dim + 1, dtype=np.float64) ** (-_SPECTRUM_EXPONENT / 2)
    normed: FloatArray = scale / np.sqrt((scale**2).sum())
    return normed


def combine_log_norms(popularity: FloatArray, rest: FloatArray) -> FloatArray:
    """Return the log norms of tracks whose genres are not known.

    Args:
        popularity: Of each track, logarithmic and standardised, float64 (n_tracks,).
        rest: What else makes a track long, standardised, same shape.
    """
    spread = float(np.hypot(_NORM_GENRE, _NORM_TRACK))
    logs: FloatArray = np.log(_NORM) + _NORM_POPULARITY * popularity + spread * rest
    return logs


def _draw_norms(genres: IntArray, popularity: FloatArray, rng: np.random.Generator) -> Float32Array:
    log_popularity = np.log(popularity)
    spread = log_popularity.std() or 1.0
    logs = np.log(_NORM) + _NORM_POPULARITY * (log_popularity - log_popularity.mean()) / spread
    logs += _NORM_GENRE * rng.standard_normal(int(genres.max()) + 1)[genres]
    logs += _NORM_TRACK * rng.standard_normal(len(genres))
    norms: Float32Array = np.exp(logs).astype(np.float32)
    return norms


def _draw_level(n: int, variances: Float32Array, rng: np.random.Generator) -> Float32Array:
    level: Float32Array = rng.standard_normal((n, len(variances)), dtype=np.float32)
    level *= np.sqrt(variances)
    return level


def _power_law(track_ids: npt.NDArray[np.integer]) -> FloatArray:
    shifted = track_ids.astype(np.float64) + _POPULARITY_OFFSET
    law: FloatArray = shifted**_POPULARITY_EXPONENT
    return law
