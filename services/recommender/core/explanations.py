"""Why a track was recommended, in numbers: for whoever asks, after the choice was made."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from services.recommender.core.recommenders import (
    Capped,
    Choice,
    Context,
    Contextual,
    Indexed,
    Recommender,
    StickyArtist,
    TopPop,
)
from services.recommender.core.session_recommender import SessionTaste

Explanation = dict[str, int | float]


class Pool(NamedTuple):
    """The rows among which a recommender chooses, before any is ruled out.

    Attributes:
        rows: Each once.
        anchor: Row that they belong to, if to one.
        is_ranked: Whether their order means anything.
    """

    rows: Sequence[int]
    anchor: int | None = None
    is_ranked: bool = False


def explain(recommender: Recommender, context: Context, choice: Choice) -> Explanation:
    """Explain a choice.

    Returns:
        What the recommender says itself, and of the rows it chose among: `pool`, their number;
        `heard` and `capped`, how many of them the session has had, or the limit per artist rules
        out; `candidates`, how many are left; `rank`, the place of the choice among them all, from
        1, if they have an order; `anchor`, the row that they belong to, if to one.
    """
    pool = find_pool(recommender, context)
    heard = sum(row in pool.rows for row in context.heard)
    capped = _count_capped(recommender, context, pool.rows)
    explanation: Explanation = {
        "pool": len(pool.rows),
        "heard": heard,
        "capped": capped,
        "candidates": len(pool.rows) - heard - capped,
    }
    if pool.is_ranked:
        explanation["rank"] = pool.rows.index(choice.row) + 1
    if pool.anchor is not None:
        explanation["anchor"] = pool.anchor
    return explanation | (choice.explanation or {})


def find_pool(recommender: Recommender, context: Context) -> Pool:
    """Return what a recommender that answered has chosen among."""
    catalog = context.catalog
    match recommender:
        case Contextual(anchor=name):
            anchor = context.first if name == "first" else context.track
            return Pool(_list(context.require_model().neighbours, anchor), anchor, is_ranked=True)
        case StickyArtist():
            artist = catalog.artists[context.track]
            return Pool(catalog.rows_by_artist[artist], context.track)
        case TopPop(n=n):
            top_tracks = context.require_model().top_tracks
            rows = [] if top_tracks is None else top_tracks[:n].tolist()
            return Pool(list(dict.fromkeys(rows)), is_ranked=True)
        case Indexed():
            model = context.require_model()
            return Pool(_list(model.user_tracks, model.user_rows[context.user]), is_ranked=True)
        case SessionTaste():
            return Pool(range(len(catalog)), context.first)
        case _:
            return Pool(range(len(catalog)))


def _list(table: np.ndarray | None, row: int) -> list[int]:
    """Return a row of a table of rows; -1 pads."""
    rows = [] if table is None else table[row].tolist()
    return [each for each in dict.fromkeys(rows) if each >= 0]


def _count_capped(recommender: Recommender, context: Context, rows: Sequence[int]) -> int:
    """Count the rows, not heard, of artists that the session has had enough of."""
    full = recommender.full_artists(context) if isinstance(recommender, Capped) else set()
    of_artist, heard = context.catalog.rows_by_artist, context.heard
    return sum(row in rows and row not in heard for artist in full for row in of_artist[artist])
