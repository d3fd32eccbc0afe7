"""The catalogue: all tracks in a fixed row order, row i <-> track id."""

import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt

from shared.events import Id

IntArray = npt.NDArray[np.int32]

# Of any length: botify's catalogue credits one track to 225 characters of artists.
Artist = Annotated[str, msgspec.Meta(min_length=1)]


class InvalidCatalogError(ValueError):
    """A catalogue that cannot be used; the message names the line and the fault."""


class Track(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of botify's `tracks.json`; `genre` is ours and optional."""

    track: Id
    artist: Artist
    title: str
    genre: str | None = None


class Catalog(msgspec.Struct, frozen=True, dict=True):
    """Tracks in row order.

    Attributes:
        tracks: Row i is track `tracks[i]`; ids are unique, in any order.
    """

    tracks: tuple[Track, ...]

    def __len__(self) -> int:
        return len(self.tracks)

    @functools.cached_property
    def track_ids(self) -> IntArray:
        """Track id per row, shape (n_tracks,)."""
        return np.array([track.track for track in self.tracks], dtype=np.int32)

    @functools.cached_property
    def row_of(self) -> dict[int, int]:
        """Row per track id."""
        return {track.track: row for row, track in enumerate(self.tracks)}

    @functools.cached_property
    def artists(self) -> tuple[str, ...]:
        """Artist names in order of first appearance."""
        return tuple(dict.fromkeys(track.artist for track in self.tracks))

    @functools.cached_property
    def artist_rows(self) -> IntArray:
        """Index into `artists` per row, shape (n_tracks,)."""
        index = {artist: i for i, artist in enumerate(self.artists)}
        return np.array([index[track.artist] for track in self.tracks], dtype=np.int32)

    @functools.cached_property
    def checksum(self) -> str:
        """Names the content: two catalogues with the same checksum are the same."""
        return hashlib.sha256(self.to_json_lines()).hexdigest()

    def rows_of(self, track_ids: npt.NDArray[np.integer]) -> IntArray:
        """Map track ids to rows, -1 where the catalogue has no such track."""
        order = np.argsort(self.track_ids, kind="stable")
        ids = self.track_ids[order]
        place = np.minimum(np.searchsorted(ids, track_ids), len(ids) - 1)
        return np.where(ids[place] == track_ids, order[place], -1).astype(np.int32)

    def to_json_lines(self) -> bytes:
        """Encode as botify's `tracks.json`: one object per line."""
        return msgspec.json.Encoder().encode_lines(self.tracks)


def make_catalog(tracks: Iterable[Track]) -> Catalog:
    """Make a catalogue.

    Raises:
        InvalidCatalogError: If it is empty or a track id repeats.
    """
    catalog = Catalog(tuple(tracks))
    if not catalog.tracks:
        raise InvalidCatalogError("no tracks")
    if len(catalog.row_of) < len(catalog):
        seen: set[int] = set()
        for line, track in enumerate(catalog.tracks, 1):
            if track.track in seen:
                raise InvalidCatalogError(f"line {line}: track {track.track} repeats")
            seen.add(track.track)
    return catalog


def parse_catalog(text: bytes) -> Catalog:
    """Read botify's `tracks.json`: one object per line.

    Raises:
        InvalidCatalogError: Naming the first bad line.
    """
    decoder = msgspec.json.Decoder(Track)
    tracks = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            tracks.append(decoder.decode(line))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise InvalidCatalogError(f"line {number}: {error}") from error
    return make_catalog(tracks)


def load_catalog(path: Path) -> Catalog:
    """Read botify's `tracks.json` from disk.

    Raises:
        InvalidCatalogError: If the file is absent or a line is bad.
    """
    try:
        return parse_catalog(path.read_bytes())
    except OSError as error:
        raise InvalidCatalogError(f"{path}: {error.strerror}") from error
    except InvalidCatalogError as error:
        raise InvalidCatalogError(f"{path}: {error}") from error
