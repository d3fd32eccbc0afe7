"""botify's `tracks_with_recs.json`: per track the ids of the tracks to recommend after it."""

from collections.abc import Iterable, Iterator
from typing import Annotated

import msgspec
import numpy as np

from services.trainer.core.errors import TrainingError
from services.trainer.core.playbacks import IntArray
from shared.catalog import Catalog
from shared.events import Id

ROWS_AT_ONCE = 500


class TrackWithRecommendations(msgspec.Struct):
    """One line; botify writes no recommendations as null."""

    track: Id
    recommendations: Annotated[list[Id], msgspec.Meta(max_length=1000)] | None = None


class _Line(msgspec.Struct):
    artist: str
    title: str
    track: int
    recommendations: list[int]


def encode_recommendations(catalog: Catalog, neighbours: IntArray) -> Iterator[bytes]:
    """Encode neighbours in botify's format, some lines at a time."""
    encoder = msgspec.json.Encoder()
    ids = catalog.track_ids
    for start in range(0, len(catalog), ROWS_AT_ONCE):
        tracks = catalog.tracks[start : start + ROWS_AT_ONCE]
        lines = [
            _Line(track.artist, track.title, track.track, ids[row[row >= 0]].tolist())
            for track, row in zip(tracks, neighbours[start : start + ROWS_AT_ONCE], strict=True)
        ]
        yield encoder.encode_lines(lines)


def parse_recommendations(lines: Iterable[bytes], catalog: Catalog) -> IntArray:
    """Read neighbours from botify's format.

    Returns:
        Catalogue rows, best first, -1 pads, int32 (n_tracks, longest list).

    Raises:
        TrainingError: Naming the first bad line, or a track that the catalogue does not have.
    """
    decoder = msgspec.json.Decoder(TrackWithRecommendations)
    found: dict[int, list[int]] = {}
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            line = decoder.decode(text)
            rows = [catalog.row_of[track] for track in line.recommendations or ()]
            found[catalog.row_of[line.track]] = rows
        except KeyError as error:
            raise TrainingError(f"line {number}: track {error} is not in the catalogue") from error
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise TrainingError(f"line {number}: {error}") from error
    if not found:
        raise TrainingError("no lines")
    width = max(1, *(len(rows) for rows in found.values()))
    neighbours = np.full((len(catalog), width), -1, dtype=np.int32)
    for row, rows in found.items():
        neighbours[row, : len(rows)] = rows
    return neighbours
