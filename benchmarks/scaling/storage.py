"""What sessions, events and models take up in Redis and Postgres."""

import asyncio
import time

import asyncpg
import httpx
from redis import Redis

from deploy.local.programs import Stack
from shared.catalog_store import CATALOG_KEY
from shared.event_stream import STREAM_KEY

TABLE = """
SELECT sum(pg_table_size(inhrelid)), sum(pg_indexes_size(inhrelid)) FROM pg_inherits
WHERE inhparent = 'events'::regclass
"""
DAYS = "SELECT pg_total_relation_size('listening_days'), count(*) FROM listening_days"


def measure_open_sessions(stack: Stack, *, n_sessions: int, n_tracks: int) -> dict[str, float]:
    """Play sessions that stay open, while nobody empties the stream; return bytes of each.

    Returns:
        Mean `session` of listeners who heard so many tracks, `stream` and `file` per event.
    """
    port = stack.settings.ports["redis"]
    file = stack.state / "redis" / "appendonlydir"
    with Redis(port=port) as redis, httpx.Client(base_url=stack.settings.url("recommender")) as api:
        redis.xtrim(STREAM_KEY, maxlen=0)
        before = sum(path.stat().st_size for path in file.iterdir())
        for user in range(n_sessions):
            track, time_listened = 7 * user % 1000, 1.0
            for _ in range(n_tracks):
                body = {"track": track, "time": time_listened}
                answer = api.post(f"/next/{user}", json=body).raise_for_status()
                track, time_listened = answer.json()["track"], 0.25
        n_events = n_sessions * n_tracks
        sizes = [
            int(redis.memory_usage(f"segue:session:{user}") or 0) for user in range(n_sessions)
        ]
        stream = int(redis.memory_usage(STREAM_KEY, samples=0) or 0)
        time.sleep(1.1)  # the file is written within a second
        after = sum(path.stat().st_size for path in file.iterdir())
        assert redis.xlen(STREAM_KEY) == n_events, "something empties the stream"
        assert min(sizes) > 0
    return {
        "session": sum(sizes) / len(sizes),
        "stream": stream / n_events,
        "file": (after - before) / n_events,
    }


def measure_models(stack: Stack) -> float:
    """Return the bytes of one model version in Redis."""
    with Redis(port=stack.settings.ports["redis"]) as redis:
        keys = [key for key in redis.scan_iter("segue:{models}:*") if key != CATALOG_KEY.encode()]
        sizes = sum(int(redis.memory_usage(key) or 0) for key in keys)
        return sizes / max(1, redis.zcard("segue:{models}:versions"))


def count_events(dsn: str) -> int:
    """Count the rows of the log."""

    async def ask() -> int:
        connection = await asyncpg.connect(dsn)
        try:
            return int(await connection.fetchval("SELECT count(*) FROM events"))
        finally:
            await connection.close()

    return asyncio.run(ask())


def measure_rows(dsn: str) -> dict[str, float]:
    """Return the bytes of an event's row and of its entries in indexes, and of a listener's day."""

    async def ask() -> dict[str, float]:
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute("SELECT refresh_listening_days()")
            n_events = await connection.fetchval("SELECT count(*) FROM events")
            table, indexes = await connection.fetchrow(TABLE)
            days, n_days = await connection.fetchrow(DAYS)
        finally:
            await connection.close()
        return {
            "row": float(table) / n_events,
            "indexes": float(indexes) / n_events,
            "day": float(days) / n_days,
        }

    return asyncio.run(ask())
