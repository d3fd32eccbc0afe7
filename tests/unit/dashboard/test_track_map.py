"""The map of the embeddings: drawn in a page, coloured, searched."""

import itertools

import msgspec
import pytest

from services.dashboard.core.track_map import (
    HEIGHT,
    MARGIN,
    N_COLOURS,
    WIDTH,
    PlacedTracks,
    Places,
    TrackMap,
)
from services.dashboard.core.track_search import TrackIndex
from shared.catalog import Track, make_catalog

TRACKS = [
    Track(10 * i, f"Artist {i % 12}", f"Title {i}", f"genre {i % 3}" if i < 9 else None)
    for i in range(30)
]
INDEX = TrackIndex(make_catalog(TRACKS))
# Tracks 0 to 19 are laid out, 20 to 27 lie between them, 28 and 29 have no place; 999 is unknown.
PLACES = Places(
    n_laid_out=21,
    tracks=[*range(0, 200, 10), 999, *range(200, 280, 10)],
    x=[float(i) for i in range(21)] + [5.0] * 8,
    y=[float(-2 * i) for i in range(21)] + [-10.0] * 8,
)


def draw(query: str = "", by: str = "genre") -> TrackMap:
    return PlacedTracks(PLACES).draw(INDEX, by=by, query=query)  # type: ignore[arg-type]  # a test's shorthand


def test_tracks_laid_out_are_drawn_within_the_picture() -> None:
    drawn = draw()
    assert [point.track.track for point in drawn.points] == list(range(0, 200, 10))
    assert drawn.points[0].x == MARGIN
    assert drawn.points[0].y == HEIGHT - MARGIN
    assert all(MARGIN <= p.x <= WIDTH - MARGIN and MARGIN <= p.y <= HEIGHT for p in drawn.points)
    assert (drawn.found, drawn.labels, drawn.lost) == ([], [], [])
    assert drawn.n_placed == 29


def test_colours_are_of_the_most_frequent_groups_and_counted() -> None:
    by_genre = draw()
    assert dict(by_genre.groups) == {"genre 0": 3, "genre 1": 3, "genre 2": 3}
    assert by_genre.n_others == 11
    assert [p.colour for p in by_genre.points[:3]] == [0, 1, 2]
    assert by_genre.points[-1].colour == N_COLOURS
    by_artist = draw(by="artist")
    assert len(by_artist.groups) == N_COLOURS
    assert sum(count for _, count in by_artist.groups) + by_artist.n_others == 20


def test_a_search_finds_tracks_laid_out_or_between_and_names_those_without_a_place() -> None:
    (found,) = draw("title 25").found
    assert (found.track.track, found.x) == (250, round(MARGIN + 5 * (WIDTH - 2 * MARGIN) / 20, 1))
    drawn = draw("title 28")
    assert (drawn.found, [track.track for track in drawn.lost]) == ([], [280])
    assert {p.track.track for p in draw("artist 7").found} == {70, 170, 190, 270}


def test_names_do_not_lie_over_each_other() -> None:
    drawn = draw("title 2")  # 2, 20 to 29: most of them in one place
    heights = [label.y for label in drawn.labels]
    assert len(heights) > 5
    assert all(b - a >= 26 for a, b in itertools.pairwise(heights))


def test_lists_of_different_lengths_are_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="differ in length"):
        msgspec.json.decode(b'{"n_laid_out": 1, "tracks": [1], "x": [], "y": [1]}', type=Places)
