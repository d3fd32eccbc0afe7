"""A play log and its song table on disk: tab-separated, or the Million Song Dataset's files."""

from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from simulator.core.plays import PlayLog, Song
from simulator.core.world import WorldError

_MSD_SEPARATOR = "<SEP>"
_COUNT_HEADINGS = frozenset({"count", "plays", "play_count"})
_SONG_HEADINGS = frozenset({"song", "song_id"})
_MOST_PLAYS = 2**31 - 1


def load_play_log(path: Path) -> PlayLog:
    """Read plays: lines of user, song and count, tab-separated, as in the Taste Profile.

    A line `user song count` (or `plays`, `play_count`) at the top is a heading. A pair of user and
    song may come on several lines.

    Raises:
        WorldError: If the file is absent or empty, or a line is bad; names it and the fault.
    """
    user_of: dict[str, int] = {}
    song_of: dict[str, int] = {}
    users, songs, counts = array("i"), array("i"), array("i")
    for number, line in _read_lines(path):
        fields = line.split("\t")
        if len(fields) != 3:
            raise WorldError(f"{path}: line {number}: {len(fields)} fields, not user, song, count")
        user, song, count = fields
        if number == 1 and count.lower() in _COUNT_HEADINGS:
            continue
        users.append(user_of.setdefault(user, len(user_of)))
        songs.append(song_of.setdefault(song, len(song_of)))
        counts.append(_parse_count(path, number, count))
    if not counts:
        raise WorldError(f"{path}: no plays")
    return PlayLog(
        users=np.array(users, dtype=np.int32),
        songs=np.array(songs, dtype=np.int32),
        counts=np.array(counts, dtype=np.int32),
        song_ids=tuple(song_of),
    )


def load_songs(path: Path) -> dict[str, Song]:
    """Read a song table; the first line of a song counts.

    Lines are `song`, `artist`, `title` and perhaps `genre`, tab-separated, or, as in the Million
    Song Dataset's `unique_tracks.txt`, track id, song id, artist and title with `<SEP>` between.

    Raises:
        WorldError: If the file is absent or empty, or a line is bad; names it and the fault.
    """
    songs: dict[str, Song] = {}
    for number, line in _read_lines(path):
        song = _parse_song(line)
        if song is None:
            raise WorldError(
                f"{path}: line {number}: neither song, artist, title[, genre] with tabs "
                f"nor track, song, artist, title with {_MSD_SEPARATOR}"
            )
        if number == 1 and song.id.lower() in _SONG_HEADINGS:
            continue
        if not song.artist:
            raise WorldError(f"{path}: line {number}: no artist")
        songs.setdefault(song.id, song)
    if not songs:
        raise WorldError(f"{path}: no songs")
    return songs


def _parse_song(line: str) -> Song | None:
    if _MSD_SEPARATOR in line:
        fields = line.split(_MSD_SEPARATOR)
        return Song(*fields[1:]) if len(fields) == 4 else None
    fields = line.split("\t")
    return Song(*fields) if len(fields) in (3, 4) else None


def _parse_count(path: Path, number: int, text: str) -> int:
    count = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= count <= _MOST_PLAYS:
        raise WorldError(f"{path}: line {number}: count {text!r} is not a positive number")
    return count


def _read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Read the lines that are not empty, with their numbers."""
    try:
        with path.open("rb") as file:
            for number, content in enumerate(file, 1):
                line = content.decode().rstrip("\r\n")
                if line:
                    yield number, line
    except OSError as error:
        raise WorldError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise WorldError(f"{path}: line {number}: not UTF-8") from error
