"""The catalogue keeps rows and ids apart and names what is wrong with a file."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.catalog import (
    Catalog,
    InvalidCatalogError,
    Track,
    load_catalog,
    make_catalog,
    parse_catalog,
)
from shared.events import MAX_ID

CATALOGS = st.lists(
    st.builds(
        Track,
        track=st.integers(0, MAX_ID),
        artist=st.text(min_size=1, max_size=20),
        title=st.text(max_size=20),
        genre=st.none() | st.text(max_size=5),
    ),
    min_size=1,
    max_size=10,
    unique_by=lambda track: track.track,
).map(make_catalog)


@given(CATALOGS)
def test_what_is_written_is_read_back(catalog: Catalog) -> None:
    again = parse_catalog(catalog.to_json_lines())
    assert again.tracks == catalog.tracks
    assert again.checksum == catalog.checksum


@given(CATALOGS, st.lists(st.integers(0, MAX_ID), max_size=10))
def test_ids_become_rows_and_unknown_ids_minus_one(catalog: Catalog, strangers: list[int]) -> None:
    ids = np.array([*strangers, *catalog.track_ids], dtype=np.int64)
    expected = [catalog.row_of.get(int(track), -1) for track in ids]
    assert catalog.rows_of(ids).tolist() == expected


def test_artists_are_numbered_by_first_appearance() -> None:
    catalog = make_catalog(Track(i, artist, "t") for i, artist in enumerate("bab"))
    assert catalog.artists == ("b", "a")
    assert catalog.artist_rows.tolist() == [0, 1, 0]


def test_checksum_tells_orders_apart() -> None:
    tracks = [Track(1, "a", "t"), Track(2, "a", "t")]
    assert make_catalog(tracks).checksum != make_catalog(reversed(tracks)).checksum


def test_artists_name_may_be_long() -> None:
    assert make_catalog([Track(1, "a" * 1000, "t")]).to_json_lines()
    assert parse_catalog(b'{"track": 1, "artist": "%s", "title": ""}' % (b"a" * 1000))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"", "no tracks"),
        (b'{"track": 1, "artist": "a", "title": "t"}\nnonsense', "line 2"),
        (b'{"track": -1, "artist": "a", "title": "t"}', "line 1"),
        (b'{"track": 1, "artist": "a"}', "line 1.*title"),
        (b'{"track": 1, "artist": "\xff", "title": "t"}', "line 1"),
        (b'{"track": 1, "artist": "a", "title": "t"}\n' * 2, "line 2: track 1 repeats"),
    ],
)
def test_a_bad_line_is_named(text: bytes, fault: str) -> None:
    with pytest.raises(InvalidCatalogError, match=fault):
        parse_catalog(text)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidCatalogError, match="absent"):
        load_catalog(tmp_path / "absent")


def test_botifys_catalogue_is_read_whole(botify_data: Path) -> None:
    catalog = load_catalog(botify_data / "tracks.json")
    assert len(catalog) == 50_000
    assert catalog.track_ids.tolist() == list(range(50_000))
