"""Playbacks from Postgres: a binary COPY, parsed as one array."""

from datetime import UTC, datetime
from typing import Any

import asyncpg
import numpy as np
import numpy.typing as npt

from services.trainer.core.errors import TrainingError
from services.trainer.core.playbacks import PLAYBACK

QUERY = """
SELECT session_id, position, track_id, user_id, time, occurred_at
FROM events
WHERE stored_at <= $1 AND occurred_at >= $2 AND occurred_at < $3
"""
COUNT_SESSIONS = """
SELECT count(*)
FROM events
WHERE stored_at <= $1 AND occurred_at >= $2 AND occurred_at < $3 AND position = 0
"""
ALWAYS = (datetime(2000, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))

SIGNATURE = b"PGCOPY\n\xff\r\n\0"
HEADER_BYTES = len(SIGNATURE) + 8  # flags, length of an extension
TRAILER = b"\xff\xff"
PARSE_BYTES = 4 * 1024 * 1024
EPOCH_2000_US = 946_684_800_000_000  # of Postgres, in microseconds since 1970
COPY_TIMEOUT_S = 1800

# Every column is NOT NULL and of fixed width, and so is a row: a count, then length and value of
# each field, big-endian.
FIELDS = {"position": ">i4", "track": ">i4", "user": ">i4", "time": ">f8", "at": ">i8"}
ROW = np.dtype(
    [
        ("n_fields", ">i2"),
        ("n_session", ">i4"),
        ("session_high", ">i8"),
        ("session_low", ">i8"),
        *(
            (key, kind)
            for name, of in FIELDS.items()
            for key, kind in (("n_" + name, ">i4"), (name, of))
        ),
    ]
)


class CopyParser:
    """Parses the chunks of a binary COPY, whatever their sizes."""

    def __init__(self) -> None:
        """Expect the header."""
        self._pending = bytearray()
        self._has_header = False
        self._parts: list[npt.NDArray[Any]] = []

    async def feed(self, chunk: bytes) -> None:
        """Take the next chunk."""
        self._pending += chunk
        if len(self._pending) >= PARSE_BYTES:
            self._parse()

    def finish(self) -> npt.NDArray[Any]:
        """Return all rows, of dtype `PLAYBACK`.

        Raises:
            TrainingError: If the data is not what the query gives, or was cut short.
        """
        self._parse()
        if self._pending != TRAILER:
            raise TrainingError("the playbacks from Postgres were cut short")
        return np.concatenate(self._parts) if self._parts else np.empty(0, PLAYBACK)

    def _parse(self) -> None:
        if not self._has_header:
            if not self._pending.startswith(SIGNATURE):
                raise TrainingError("Postgres did not answer with a binary copy")
            del self._pending[:HEADER_BYTES]
            self._has_header = True
        n_rows = len(self._pending) // ROW.itemsize
        if n_rows == 0:
            return
        rows = np.frombuffer(bytes(self._pending[: n_rows * ROW.itemsize]), dtype=ROW)
        del self._pending[: n_rows * ROW.itemsize]
        self._parts.append(_convert(rows))


async def read_playbacks(
    connection: asyncpg.Connection,
    *,
    since: datetime | None,
    until: datetime | None,
    watermark: datetime,
) -> npt.NDArray[Any]:
    """Read the playbacks of a window, in any order.

    Args:
        connection: To Postgres.
        since, until: Half-open window of playback times; None is unbounded.
        watermark: What was stored after it is not read.

    Returns:
        Of dtype `PLAYBACK`.
    """
    parser = CopyParser()
    await connection.copy_from_query(
        QUERY,
        watermark,
        since or ALWAYS[0],
        until or ALWAYS[1],
        output=parser.feed,
        format="binary",
        timeout=COPY_TIMEOUT_S,
    )
    return parser.finish()


async def count_sessions(
    connection: asyncpg.Connection,
    *,
    since: datetime,
    until: datetime | None,
    watermark: datetime,
) -> int:
    """Count the sessions that began in a window and were stored by the watermark."""
    n_sessions: int = await connection.fetchval(
        COUNT_SESSIONS, watermark, since, until or ALWAYS[1], timeout=COPY_TIMEOUT_S
    )
    return n_sessions


async def read_watermark(connection: asyncpg.Connection) -> datetime:
    """Read the database's clock."""
    now: datetime = await connection.fetchval("SELECT clock_timestamp()")
    return now


def _convert(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if (rows["n_fields"] != 1 + len(FIELDS)).any() or (rows["n_session"] != 16).any():
        raise TrainingError("Postgres answered with rows of another shape")
    playbacks = np.empty(len(rows), PLAYBACK)
    for name in PLAYBACK.names or ():
        playbacks[name] = rows[name]
    playbacks["at"] += EPOCH_2000_US
    return playbacks
