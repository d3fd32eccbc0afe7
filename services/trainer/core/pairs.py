"""Pairs to learn from: a session's first track and each track that it led to."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.trainer.core.errors import TrainingError
from services.trainer.core.playbacks import FloatArray, IntArray, PlaybackLog
from shared.catalog import Catalog

MAX_UNKNOWN_SHARE = 0.5
MIN_USERS = 2


@dataclass(frozen=True)
class Pairs:
    """A session's first track, a later one, and how much of the later one was listened to.

    Attributes:
        anchors: Catalogue row of the first track.
        tracks: Catalogue row of the later track.
        times: Fraction listened of the later track, in [0, 1].
        sessions: Index of the session, ascending with time.
    """

    anchors: IntArray
    tracks: IntArray
    times: FloatArray
    sessions: IntArray

    def __len__(self) -> int:
        return len(self.anchors)

    def between(self, first: int, end: int) -> "Pairs":
        """Return those of the sessions from `first` on that come before `end`."""
        part = slice(*np.searchsorted(self.sessions, [first, end]))
        return Pairs(self.anchors[part], self.tracks[part], self.times[part], self.sessions[part])


@dataclass(frozen=True)
class PairCounts:
    """What became of the playbacks.

    Attributes:
        unknown: Dropped: their track is not in the catalogue.
        headless: Dropped: the window cut off their session's first track, or it is unknown.
        repeats: Dropped: the session's first track again, whose time says nothing of taste.
    """

    unknown: int
    headless: int
    repeats: int


def make_pairs(log: PlaybackLog, catalog: Catalog) -> tuple[Pairs, PairCounts]:
    """Pair each later playback with its session's first track.

    Raises:
        TrainingError: If the log is of another catalogue or too small to learn from.
    """
    rows = catalog.rows_of(log.tracks)
    is_known = rows >= 0
    check_known(is_known)
    if log.n_users < MIN_USERS:
        raise TrainingError("playbacks of one user only: nothing holds beyond that user")
    starts = np.flatnonzero(np.diff(log.sessions, prepend=-1))
    heads = np.where(log.positions[starts] == 0, rows[starts], -1)
    anchors = heads[log.sessions].astype(np.int32)
    is_later = log.positions > 0
    has_head = anchors >= 0
    is_repeat = rows == anchors
    chosen = is_later & is_known & has_head & ~is_repeat
    if not chosen.any():
        raise TrainingError("no session has a known first track and another after it")
    counts = PairCounts(
        unknown=int((~is_known).sum()),
        headless=int((is_later & is_known & ~has_head).sum()),
        repeats=int((is_later & is_known & is_repeat).sum()),
    )
    pairs = Pairs(anchors[chosen], rows[chosen], log.times[chosen], log.sessions[chosen])
    return pairs, counts


def check_known(is_known: npt.NDArray[np.bool_]) -> None:
    """Refuse a log of another catalogue.

    Raises:
        TrainingError: If most playbacks are of tracks that the catalogue does not have.
    """
    unknown = 1.0 - is_known.mean()
    if unknown > MAX_UNKNOWN_SHARE:
        raise TrainingError(
            f"the log is of another catalogue: {unknown:.0%} of its playbacks are of tracks that "
            "the catalogue does not have"
        )
