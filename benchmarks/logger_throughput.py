"""`python -m benchmarks.logger_throughput`: events per second from the stream and in bulk.

Starts a Valkey and a Postgres of its own. The baseline is what one would write first: the same
rows, by `executemany` of a plain INSERT, in batches of the same size.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from socket import socket
from uuid import UUID

import asyncpg
import httpx
from redis.asyncio import Redis

from deploy.local.servers import PostgresServer, ValkeyServer
from services.logger.adapters.migrate import migrate_async, wait_for_postgres
from services.logger.app import create_app
from services.logger.core.validation import COLUMNS, Received, sort_payloads
from services.logger.settings import Settings
from shared.event_stream import RedisEventStream
from shared.events import Event, encode_event, make_event_id, truncate_to_milliseconds

N_EVENTS = int(os.environ.get("N_EVENTS", "100000"))
LINES_PER_BODY = 5000
BATCH_SIZE = 2000


def make_payloads(n_events: int, seed: str) -> list[bytes]:
    """Make events as the recommender would within one second."""
    now = truncate_to_milliseconds(datetime.now(UTC))
    return [
        make_payload(
            number,
            now,
            event_id=make_event_id(now, seed, number),
            session=make_event_id(now, seed, "session", number // 5),
        )
        for number in range(n_events)
    ]


def make_payload(number: int, now: datetime, *, event_id: UUID, session: UUID) -> bytes:
    """Make one of many events, of the size that the recommender's have."""
    return encode_event(
        Event(
            event_id=event_id,
            message="next",
            timestamp=now,
            user=number % 10_000,
            session=session,
            position=number % 5,
            track=number % 50_000,
            time=number % 101 / 100,
            latency=0.0012,
            recommendation=(number + 1) % 50_000,
            recommender="contextual",
            model_version="2026-01-01-abcdef",
            propensity=0.01,
            experiments={"CONTEXTUAL": "T1", "AA": "C"},
        )
    )


async def measure(name: str, work: Callable[[], Awaitable[None]]) -> float:
    """Run a path once; print and return its events per second."""
    cpu, started = time.process_time(), time.perf_counter()
    await work()
    wall_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    rate = N_EVENTS / wall_s
    print(
        f"{name:<28} {rate:>9,.0f} events/s"
        f"  {cpu_s / N_EVENTS * 1e6:>6.1f} CPU s per million events"
        f"  ({N_EVENTS / cpu_s:,.0f} events per CPU s)"
    )
    return rate


async def insert_plainly(dsn: str) -> None:
    """Store events by executemany: the baseline."""
    received = (Received(i, payload) for i, payload in enumerate(make_payloads(N_EVENTS, "plain")))
    rows = [accepted.row for accepted in sort_payloads(received, now=datetime.now(UTC)).accepted]
    marks = ", ".join(f"${i}" for i in range(1, len(COLUMNS) + 1))
    query = f"INSERT INTO events ({', '.join(COLUMNS)}) VALUES ({marks}) ON CONFLICT DO NOTHING"  # noqa: S608
    connection = await asyncpg.connect(dsn)
    for start in range(0, len(rows), BATCH_SIZE):
        await connection.executemany(query, rows[start : start + BATCH_SIZE])
    await connection.close()


async def count(dsn: str) -> int:
    """Count the rows."""
    connection = await asyncpg.connect(dsn)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM events"))
    finally:
        await connection.close()


async def drain(stream: RedisEventStream) -> None:
    """Wait until every entry is stored."""
    lag = await stream.lag()
    while lag.undelivered or lag.pending:
        await asyncio.sleep(0.05)
        lag = await stream.lag()


async def post_all(client: httpx.AsyncClient, bodies: list[bytes]) -> None:
    """Send the bodies, two at once."""
    queue = iter(bodies)

    async def send() -> None:
        for body in queue:
            answer = await client.post("/events", content=body)
            assert answer.json()["stored"] == LINES_PER_BODY, answer.text

    await asyncio.gather(send(), send())


@contextlib.asynccontextmanager
async def running_logger(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Run the service in this process: its CPU is what is measured."""
    app = create_app(settings)
    async with app.router.lifespan_context(app) as state:

        async def with_state(scope, receive, send) -> None:  # type: ignore[no-untyped-def] # ASGI
            await app({**scope, "state": dict(state or {})}, receive, send)

        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=with_state),
            base_url="http://logger",
            headers={"Content-Type": "application/x-ndjson"},
            timeout=60,
        ) as client:
            yield client


async def run(valkey: ValkeyServer, postgres: PostgresServer) -> None:
    """Measure the three paths, one after the other."""
    await wait_for_postgres(postgres.dsn, timeout_s=30)
    await migrate_async(postgres.dsn)
    async with Redis.from_url(valkey.url) as redis:
        stream = RedisEventStream(redis)
        await stream.open()
        payloads = make_payloads(N_EVENTS, "stream")
        for start in range(0, N_EVENTS, 1000):
            await stream.append(payloads[start : start + 1000])
        lines = make_payloads(N_EVENTS, "bulk")
        bodies = [
            b"\n".join(lines[start : start + LINES_PER_BODY])
            for start in range(0, N_EVENTS, LINES_PER_BODY)
        ]
        settings = Settings(redis_url=valkey.url, postgres_dsn=postgres.dsn, batch_size=BATCH_SIZE)
        async with running_logger(settings) as client:
            from_stream = await measure("stream to rows", lambda: drain(stream))
            in_bulk = await measure("POST /events to rows", lambda: post_all(client, bodies))
    plainly = await measure("baseline: executemany", lambda: insert_plainly(postgres.dsn))
    print(f"against the baseline: stream {from_stream / plainly:.2f}, bulk {in_bulk / plainly:.2f}")
    assert await count(postgres.dsn) == 3 * N_EVENTS


@contextlib.contextmanager
def serving(command: list[str], user: str | None, log: Path) -> Iterator[None]:
    """Run a server until the block ends."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, user=user, cwd="/")
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> int:
    """Start the servers, measure, remove everything."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        valkey = ValkeyServer(free_port(), folder / "valkey")
        postgres = PostgresServer(free_port(), folder / "postgres")
        try:
            valkey.prepare()
            postgres.prepare()
            with (
                serving(valkey.command(), None, folder / "valkey.log"),
                serving(postgres.command(), postgres.system_user, folder / "postgres.log"),
            ):
                asyncio.run(run(valkey, postgres))
        finally:
            postgres.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main())
