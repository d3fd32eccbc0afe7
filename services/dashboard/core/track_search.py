"""Tracks by artist and title."""

import unicodedata

from shared.catalog import Catalog, Track


class TrackIndex:
    """A catalogue that finds its tracks by words of artist and title."""

    def __init__(self, catalog: Catalog) -> None:
        """Fold every name once."""
        self._catalog = catalog
        self._texts = [f" {_fold(track.artist)} {_fold(track.title)}" for track in catalog.tracks]

    def __len__(self) -> int:
        return len(self._catalog)

    def find(self, track_id: int) -> Track | None:
        """Return a track by its id."""
        row = self._catalog.row_of.get(track_id)
        return None if row is None else self._catalog.tracks[row]

    def at(self, row: int) -> Track:
        """Return a track by its row."""
        return self._catalog.tracks[row]

    def search(self, text: str, *, limit: int = 20) -> list[Track]:
        """Find tracks whose artist and title have every word; whole words' beginnings first.

        Accents and case do not count. A text without a word finds nothing.
        """
        words = _fold(text).split()
        if not words:
            return []
        starts = [f" {word}" for word in words]
        first: list[Track] = []
        rest: list[Track] = []
        for row, track_text in enumerate(self._texts):
            if not all(word in track_text for word in words):
                continue
            if all(start in track_text for start in starts):
                first.append(self._catalog.tracks[row])
                if len(first) == limit:
                    break
            elif len(rest) < limit:
                rest.append(self._catalog.tracks[row])
        return [*first, *rest][:limit]


def _fold(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text)
    return "".join(char for char in plain if not unicodedata.combining(char)).casefold()
