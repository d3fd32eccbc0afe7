"""The map of a model version's embeddings, as a page shows it: coloured, and searched."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from services.dashboard.core.track_search import TrackIndex
from shared.catalog import Track

WIDTH, HEIGHT, MARGIN = 1000.0, 640.0, 24.0
N_COLOURS = 12
N_LABELS = 8
_LABEL_HEIGHT = 26.0
_RIGHT = 0.7 * WIDTH  # of which names are written to the left

Colouring = Literal["genre", "artist"]


class Places(msgspec.Struct, frozen=True):
    """Where the trainer put the tracks.

    Attributes:
        n_laid_out: So many of them come first, the popular ones last; the others lie between those
            they are like.
        tracks: Ids.
        x, y: Their places, in any unit.

    Raises:
        ValueError: If the lists differ in length.
    """

    n_laid_out: int
    tracks: list[int]
    x: list[float]
    y: list[float]

    def __post_init__(self) -> None:
        """Refuse what is no map."""
        if not 0 < self.n_laid_out <= len(self.tracks) == len(self.x) == len(self.y):
            raise ValueError("the map's lists differ in length")


class Point(NamedTuple):
    """A track on the map.

    Attributes:
        track: It.
        x, y: In units of the drawing, WIDTH by HEIGHT.
        colour: Number of its group; N_COLOURS for all that have none.
    """

    track: Track
    x: float
    y: float
    colour: int


class Label(NamedTuple):
    """A found track's name, beside its point but not over another name.

    Attributes:
        text: The name.
        x, y: Place of the point's side of it.
        is_left: Whether it is written to the left of the point.
        point_y: Height of the point, from which a line leads to it if it was moved.
    """

    text: str
    x: float
    y: float
    is_left: bool
    point_y: float


class TrackMap(NamedTuple):
    """What is drawn.

    Attributes:
        points: Tracks laid out.
        groups: Names of the colours, with the tracks that have each; the rest are not named.
        n_others: The rest.
        found: Tracks that were searched for and have a place.
        labels: Of the first of them.
        lost: Tracks that were searched for and have none.
        n_placed: Tracks with a place, laid out or not.
    """

    points: Sequence[Point]
    groups: Sequence[tuple[str, int]]
    n_others: int
    found: Sequence[Point]
    labels: Sequence[Label]
    lost: Sequence[Track]
    n_placed: int


class PlacedTracks:
    """The places, scaled to the drawing and found by track."""

    def __init__(self, places: Places) -> None:
        """Scale once."""
        self._n_laid_out = places.n_laid_out
        x = _scale(places.x, places.n_laid_out, WIDTH)
        y = _scale(places.y, places.n_laid_out, HEIGHT)
        self._by_track = dict(zip(places.tracks, zip(x, y, strict=True), strict=True))

    def draw(self, index: TrackIndex, *, by: Colouring, query: str, limit: int = 60) -> TrackMap:
        """Lay the map out for a page.

        Args:
            index: The catalogue, whose names and genres it shows; tracks it lacks are left out.
            by: What the colours stand for.
            query: Words of artist or title; found tracks stand out.
            limit: Most tracks to find.
        """
        on_map = list(self._by_track)[: self._n_laid_out]
        tracks = [track for each in on_map if (track := index.find(each)) is not None]
        counts = Counter(name for track in tracks if (name := _group(track, by)))
        groups = counts.most_common(N_COLOURS)
        colours = {name: number for number, (name, _) in enumerate(groups)}
        matches = index.search(query, limit=limit)
        found = [self._point(t, colours, by) for t in matches if t.track in self._by_track]
        return TrackMap(
            points=[self._point(track, colours, by) for track in tracks],
            groups=groups,
            n_others=len(tracks) - sum(count for _, count in groups),
            found=found,
            labels=_label(found[:N_LABELS]),
            lost=[track for track in matches if track.track not in self._by_track],
            n_placed=len(self._by_track),
        )

    def _point(self, track: Track, colours: dict[str, int], by: Colouring) -> Point:
        x, y = self._by_track[track.track]
        return Point(track, x, y, colours.get(_group(track, by) or "", N_COLOURS))


def _group(track: Track, by: Colouring) -> str | None:
    return track.genre if by == "genre" else track.artist


def _scale(values: Sequence[float], n_laid_out: int, length: float) -> list[float]:
    """Let those laid out fill the drawing; the others lie between them."""
    low, high = min(values[:n_laid_out]), max(values[:n_laid_out])
    factor = (length - 2 * MARGIN) / ((high - low) or 1.0)
    return [round(MARGIN + (value - low) * factor, 1) for value in values]


def _label(points: Sequence[Point]) -> list[Label]:
    """Write names beside points, from the top, each below the one before where they would meet."""
    labels: list[Label] = []
    for point in sorted(points, key=lambda each: each.y):
        above = labels[-1].y if labels else -_LABEL_HEIGHT
        y = min(max(point.y, above + _LABEL_HEIGHT), HEIGHT - 4)
        is_left = point.x > _RIGHT
        labels.append(Label(point.track.title, point.x, y, is_left, point.y))
    return labels
