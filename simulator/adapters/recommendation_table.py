"""botify's `tracks_with_recs`: one JSON object per line, a track and what to play after it."""

from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np

from shared.catalog import Catalog
from shared.events import Id
from simulator.core.listeners import IntArray


class TableError(ValueError):
    """A table that cannot be used; the message names the file, the line and the fault."""


class _Line(msgspec.Struct):
    track: Id
    recommendations: Annotated[list[Id], msgspec.Meta(min_length=1)]


def load_table(path: Path, catalog: Catalog) -> IntArray:
    """Read a table.

    Returns:
        Catalogue rows, int32 (n_tracks, longest list), -1 pads.

    Raises:
        TableError: If the file is absent, or a line is bad or leaves the catalogue.
    """
    decoder = msgspec.json.Decoder(_Line)
    lists: dict[int, IntArray] = {}
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise TableError(f"{path}: {error.strerror}") from error
    for number, text in enumerate(lines, 1):
        try:
            line = decoder.decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise TableError(f"{path}: line {number}: {error}") from error
        rows = catalog.rows_of(np.array([line.track, *line.recommendations]))
        if (rows < 0).any():
            raise TableError(f"{path}: line {number}: names a track outside the catalogue")
        lists[int(rows[0])] = rows[1:]
    if not lists:
        raise TableError(f"{path}: no lines")
    table = np.full((len(catalog), max(map(len, lists.values()))), -1, dtype=np.int32)
    for row, neighbours in lists.items():
        table[row, : len(neighbours)] = neighbours
    return table
