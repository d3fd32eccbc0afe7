"""Later sessions, kept from a training to judge it: each play is predicted from its start."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.trainer.core.errors import TrainingError
from services.trainer.core.playbacks import FloatArray, IntArray, PlaybackLog
from shared.catalog import Catalog

Index = npt.NDArray[np.int64]


@dataclass(frozen=True)
class HeldOut:
    """Plays that tell of taste: not the session's first track, and no track for a second time.

    Attributes:
        anchors: Catalogue row of the session's first track.
        tracks: Catalogue row of the track played.
        times: Fraction listened of it, in [0, 1].
        sessions: Index of the session, ascending with time.
        users: Id of the listener.
        n_earlier: Earlier tracks of the same artist in the session.
    """

    anchors: IntArray
    tracks: IntArray
    times: FloatArray
    sessions: IntArray
    users: IntArray
    n_earlier: Index

    def __len__(self) -> int:
        return len(self.anchors)

    @property
    def n_sessions(self) -> int:
        """Number of sessions."""
        return len(np.unique(self.sessions))

    def since(self, session: int) -> "HeldOut":
        """Return the plays of this session and those after it."""
        part = slice(int(np.searchsorted(self.sessions, session)), None)
        return HeldOut(
            anchors=self.anchors[part],
            tracks=self.tracks[part],
            times=self.times[part],
            sessions=self.sessions[part],
            users=self.users[part],
            n_earlier=self.n_earlier[part],
        )


def collect_plays(log: PlaybackLog, catalog: Catalog) -> HeldOut:
    """Collect all plays of a log that can be predicted from their session's start."""
    rows = catalog.rows_of(log.tracks)
    starts = np.flatnonzero(np.diff(log.sessions, prepend=-1))
    heads = np.where(log.positions[starts] == 0, rows[starts], -1)
    anchors = heads[log.sessions].astype(np.int32)
    is_known = rows >= 0
    artists = np.where(is_known, catalog.artist_rows[rows], -1)
    is_new = count_earlier(log.sessions, rows) == 0
    chosen = is_known & (anchors >= 0) & (log.positions > 0) & is_new
    return HeldOut(
        anchors=anchors[chosen],
        tracks=rows[chosen],
        times=log.times[chosen],
        sessions=log.sessions[chosen],
        users=log.users[chosen],
        n_earlier=count_earlier(log.sessions, artists)[chosen],
    )


def find_cut(sessions: IntArray, *, held_out: float, n_least: int) -> int:
    """Find the first session to hold out, so that a share of those with plays lies behind it.

    Args:
        sessions: Of the plays, ascending.
        held_out: Share of the sessions.
        n_least: Sessions to hold out at least.

    Raises:
        TrainingError: If no session is left to learn from.
    """
    numbers = np.unique(sessions)
    n_held_out = max(n_least, round(len(numbers) * held_out))
    if len(numbers) <= n_held_out:
        few = "one session" if len(numbers) == 1 else f"{len(numbers)} sessions"
        raise TrainingError(
            f"playbacks of {few} only: {n_held_out} of them to evaluate on leave none to learn from"
        )
    return int(numbers[-n_held_out])


def count_earlier(session: npt.NDArray[np.integer], kind: npt.NDArray[np.integer]) -> Index:
    """Count, per playback, the earlier ones of its session that are of the same kind.

    Args:
        session: Per playback, ascending; playbacks of a session are in order.
        kind: Say, the artist; same shape.
    """
    order = np.lexsort((kind, session))  # stable: stays in order of position
    is_new = np.ones(len(order), dtype=np.bool_)
    is_new[1:] = np.diff(session[order]) != 0
    is_new[1:] |= np.diff(kind[order]) != 0
    place = np.arange(len(order))
    begin = np.maximum.accumulate(np.where(is_new, place, 0))
    earlier = np.empty(len(order), dtype=np.int64)
    earlier[order] = place - begin
    return earlier
