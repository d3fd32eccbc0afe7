"""The catalogue as recommenders read it: plain lists by row, quick to look up one by one."""

import msgspec

from shared.catalog import Catalog, IntArray


class CatalogIndex(msgspec.Struct, frozen=True):
    """Lookups by catalogue row.

    Attributes:
        checksum: Of the catalogue.
        track_ids: Track id per row.
        row_of: Row per track id.
        artists: Artist index per row.
        rows_by_artist: Rows per artist index.
        artist_rows: As `artists`, an array.
    """

    checksum: str
    track_ids: list[int]
    row_of: dict[int, int]
    artists: list[int]
    rows_by_artist: list[list[int]]
    artist_rows: IntArray

    def __len__(self) -> int:
        return len(self.track_ids)


def make_catalog_index(catalog: Catalog) -> CatalogIndex:
    """Index a catalogue once, at start."""
    artists: list[int] = catalog.artist_rows.tolist()
    rows_by_artist: list[list[int]] = [[] for _ in catalog.artists]
    for row, artist in enumerate(artists):
        rows_by_artist[artist].append(row)
    return CatalogIndex(
        checksum=catalog.checksum,
        track_ids=catalog.track_ids.tolist(),
        row_of=catalog.row_of,
        artists=artists,
        rows_by_artist=rows_by_artist,
        artist_rows=catalog.artist_rows,
    )
