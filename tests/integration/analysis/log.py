"""A log whose every metric is known by hand, and how to put a log into Postgres."""

import contextlib
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from services.logger.adapters.partitions import Partitions, month_of
from shared.events import make_event_id

START = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
Row = dict[str, Any]


def make_session(
    user: int,
    times: list[float],
    *,
    experiments: dict[str, str],
    at: datetime = START,
    latencies: list[float] | None = None,
    finished: bool = True,
) -> list[Row]:
    """Make the rows of one session: track p at position p, each recommended by the one before."""
    session = make_event_id(at, "session", user)
    rows = []
    for position, time in enumerate(times):
        occurred_at = at + timedelta(seconds=position)
        is_last = finished and position == len(times) - 1
        rows.append(
            {
                "event_id": make_event_id(occurred_at, user, position),
                "message": "last" if is_last else "next",
                "occurred_at": occurred_at,
                "user_id": user,
                "session_id": session,
                "position": position,
                "track_id": position,
                "time": time,
                "latency": (latencies or [0.002] * len(times))[position],
                "recommendation": None if is_last else position + 1,
                "recommender": None if is_last else "random",
                "model_version": None if is_last else f"v{position}",
                "propensity": None if is_last else 0.5 ** (position + 1),
                "fallback": None,
                "experiments": json.dumps(experiments),
            }
        )
    return rows


def make_known_log() -> list[Row]:
    """Make an experiment RECOMMENDERS with two users in each arm, and one seen in both.

    By hand, per user:
        1 (C): sessions of 1.0 + 0.5 and 1.0: time 2.5, sessions 2, tracks 3, one request of 4 ms.
        2 (C): 1.0 + 0.5 + 0.0 + 0.0: time 1.5, sessions 1, tracks 4, requests of 1, 2, 3 ms.
        3 (T1): 1.0 + 1.0 + 1.0: time 3, sessions 1, tracks 3, two requests of 8 ms.
        4 (T1): 1.0, not closed: time 1, sessions 1, tracks 1, one request of 2 ms.
        5: C in one session of 2 tracks, T1 in another of 3.
        6: in AA alone.
    """
    c, t1 = {"RECOMMENDERS": "C", "AA": "C"}, {"RECOMMENDERS": "T1", "AA": "C"}
    later = START + timedelta(hours=1)
    return [
        *make_session(1, [1.0, 0.5], experiments=c, latencies=[0.004, 0.0]),
        *make_session(1, [1.0], experiments=c, at=later),
        *make_session(2, [1.0, 0.5, 0.0, 0.0], experiments=c, latencies=[0.001, 0.002, 0.003, 9.0]),
        *make_session(3, [1.0, 1.0, 1.0], experiments=t1, latencies=[0.008, 0.008, 0.0]),
        *make_session(4, [1.0], experiments=t1, finished=False),
        *make_session(5, [1.0, 0.1], experiments=c),
        *make_session(5, [1.0, 0.1, 0.1], experiments=t1, at=later),
        *make_session(6, [1.0, 0.3], experiments={"AA": "T1"}),
    ]


async def insert(connection: asyncpg.Connection, rows: Iterable[Row]) -> None:
    """Insert rows, with the partitions that they need."""
    rows = list(rows)
    await Partitions().ensure(connection, {month_of(row["occurred_at"]) for row in rows})
    await insert_where_there_are_partitions(connection, rows)


async def insert_where_there_are_partitions(
    connection: asyncpg.Connection, rows: Sequence[Row]
) -> None:
    """Insert rows and do nothing else, so that no lock is held until the transaction's end."""
    columns = list(rows[0])
    await connection.executemany(
        f"INSERT INTO events ({', '.join(columns)}) "
        f"VALUES ({', '.join(f'${i + 1}' for i in range(len(columns)))})",
        [tuple(row.values()) for row in rows],
    )


@contextlib.asynccontextmanager
async def connect(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """Open a connection for a block."""
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()
