"""Logged sessions and the catalogue, from Postgres, for off-policy estimates."""

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime

import asyncpg
import numpy as np

from analysis.core.exposures import LoggedSession, Tracks

ALWAYS, FOREVER = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)

TRACKS = "SELECT track_id, artist, genre FROM tracks ORDER BY track_id"

# $1 experiment, $2 since, $3 until, $4 treatment. Users seen under two treatments are left out.
SESSIONS = """
WITH listener AS (
    SELECT user_id FROM events
    WHERE experiments ? $1 AND occurred_at >= $2 AND occurred_at < $3
    GROUP BY user_id
    HAVING min(experiments ->> $1) = $4 AND max(experiments ->> $1) = $4
)
SELECT user_id, array_agg(position ORDER BY position) AS positions,
       array_agg(track_id ORDER BY position) AS tracks,
       array_agg(time ORDER BY position) AS times,
       array_agg(recommendation ORDER BY position) AS recommendations,
       array_agg(propensity ORDER BY position) AS propensities
FROM events JOIN listener USING (user_id)
WHERE experiments ? $1 AND occurred_at >= $2 AND occurred_at < $3
GROUP BY user_id, session_id
ORDER BY user_id, session_id
"""


@dataclasses.dataclass(frozen=True)
class SessionLog:
    """What there is to learn from.

    Attributes:
        sessions: As far as they can be replayed.
        n_broken: Sessions left out: events are missing, or the catalogue lacks a track.
    """

    sessions: Sequence[LoggedSession]
    n_broken: int


async def fetch_tracks(connection: asyncpg.Connection) -> Tracks | None:
    """Fetch the catalogue, its rows in the order of track ids; None if it was not copied yet."""
    rows = await connection.fetch(TRACKS)
    if not rows:
        return None
    artists = {artist: n for n, artist in enumerate(sorted({row["artist"] for row in rows}))}
    genres = {genre: n for n, genre in enumerate(sorted({row["genre"] or "" for row in rows}))}
    return Tracks(
        ids=np.array([row["track_id"] for row in rows], np.int32),
        artists=np.array([artists[row["artist"]] for row in rows], np.int32),
        genres=np.array([genres[row["genre"]] if row["genre"] else -1 for row in rows], np.int32),
    )


async def fetch_sessions(
    connection: asyncpg.Connection,
    experiment: str,
    treatment: str,
    *,
    tracks: Tracks,
    since: datetime | None = None,
    until: datetime | None = None,
) -> SessionLog:
    """Fetch the sessions of an arm's users.

    Args:
        connection: As `open_database` gives it.
        experiment: Its name.
        treatment: The arm's.
        tracks: The catalogue.
        since, until: Only the events of since <= time < until.
    """
    row_of = {track: row for row, track in enumerate(tracks.ids.tolist())}
    sessions, n_broken = [], 0
    arguments = (experiment, since or ALWAYS, until or FOREVER, treatment)
    async for record in connection.cursor(SESSIONS, *arguments, prefetch=2000):
        session = _make_session(record, row_of)
        if session is None:
            n_broken += 1
        else:
            sessions.append(session)
    return SessionLog(sessions, n_broken)


def _make_session(record: asyncpg.Record, row_of: dict[int, int]) -> LoggedSession | None:
    if record["positions"] != list(range(len(record["positions"]))):
        return None
    tracks = [row_of.get(track) for track in record["tracks"]]
    served = [None if each is None else row_of.get(each, -1) for each in record["recommendations"]]
    if -1 in served:
        return None
    known = [track for track in tracks if track is not None]
    if len(known) < len(tracks):
        return None
    return LoggedSession(record["user_id"], known, record["times"], served, record["propensities"])
