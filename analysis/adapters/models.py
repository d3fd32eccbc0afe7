"""What a policy recommends from: a model version in Redis, or a file of `tracks_with_recs`."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from redis.exceptions import RedisError

from analysis.core.exposures import IntArray, Tracks
from analysis.core.targets import Model
from shared.arrays import AnyArray
from shared.artifacts import ArtifactError, fetch_latest_version, fetch_model
from shared.catalog_store import fetch_catalog
from shared.events import Id
from shared.redis_client import create_redis

ARRAYS = ("neighbours", "top_tracks", "user_ids", "user_tracks")
LATEST = "latest"
TIMEOUT_S = 10.0


class ModelError(RuntimeError):
    """No model to recommend from; the message says which and why."""


class _Line(msgspec.Struct):
    track: Id
    recommendations: list[Id]


async def fetch_served_model(url: str, version: str, tracks: Tracks) -> tuple[str, Model]:
    """Fetch a model version.

    Args:
        url: Of Redis.
        version: Its id, or `latest`.
        tracks: The catalogue whose rows the model is to name.

    Returns:
        The id, and the model.

    Raises:
        ModelError: If Redis is away, or has no such version.
    """
    try:
        async with contextlib.aclosing(create_redis(url, timeout_s=TIMEOUT_S)) as redis:
            found = await fetch_latest_version(redis) if version == LATEST else version
            if found is None:
                raise ModelError("no model version serves")
            model = await fetch_model(redis, found, only=ARRAYS)
            catalog = await fetch_catalog(redis)
    except (RedisError, OSError) as error:
        raise ModelError(f"no Redis: {str(error) or type(error).__name__}") from error
    except ArtifactError as error:
        raise ModelError(str(error)) from error
    except ValueError as error:  # of the address
        raise ModelError(f"no Redis: {url}: {error}") from error
    if model.manifest.catalog_checksum != catalog.checksum:
        raise ModelError(f"model version {found} is of another catalogue")
    return found, _make_model(model.arrays, _find_rows(catalog.track_ids, tracks))


def load_neighbours(path: Path, tracks: Tracks) -> Model:
    """Read botify's `tracks_with_recs`: one JSON object per line; an empty list is as no line.

    Raises:
        ModelError: If the file cannot be read, or a line is bad or names a track that the log's
            catalogue lacks.
    """
    decoder = msgspec.json.Decoder(_Line)
    row_of = {track: row for row, track in enumerate(tracks.ids.tolist())}
    lists: dict[int, Sequence[int]] = {}
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}") from error
    for number, text in enumerate(lines, 1):
        try:
            line = decoder.decode(text)
            lists[row_of[line.track]] = [row_of[track] for track in line.recommendations]
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ModelError(f"{path}: line {number}: {error}") from error
        except KeyError as error:
            raise ModelError(
                f"{path}: line {number}: the catalogue has no track {error}"
            ) from error
    if not lists:
        raise ModelError(f"{path}: no lines")
    neighbours = np.full((len(tracks), max(1, *map(len, lists.values()))), -1, np.int32)
    for row, found in lists.items():
        neighbours[row, : len(found)] = found
    return Model(neighbours=neighbours)


def _find_rows(ids: IntArray, tracks: Tracks) -> IntArray:
    """Return the row of `tracks` of each id, -1 where there is none; one more -1 ends it."""
    place = np.minimum(np.searchsorted(tracks.ids, ids), len(tracks) - 1)
    rows = np.where(tracks.ids[place] == ids, place, -1)
    return np.append(rows, -1).astype(np.int32)


def _make_model(named: Mapping[str, AnyArray], rows: IntArray) -> Model:
    """Turn arrays of catalogue rows into a model of our rows; -1 stays -1."""
    neighbours = named.get("neighbours")
    if neighbours is not None:
        ours = np.full((rows.max() + 1, neighbours.shape[1]), -1, np.int32)
        known = rows[:-1] >= 0
        ours[rows[:-1][known]] = rows[neighbours[known]]
        neighbours = ours
    top, ids, lists = (named.get(name) for name in ("top_tracks", "user_ids", "user_tracks"))
    return Model(
        neighbours=neighbours,
        top_tracks=None if top is None else rows[top].tolist(),
        user_tracks=None
        if ids is None or lists is None
        else dict(zip(ids.tolist(), rows[lists].tolist(), strict=True)),
    )
