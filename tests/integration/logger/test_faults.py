"""Real processes that die: every event ends as one row, none is lost."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import httpx
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from deploy.local.servers import PostgresServer, ValkeyServer
from services.logger.adapters.migrate import NOT_YET
from shared.event_stream import STREAM_KEY, RedisEventStream
from tests.conftest import free_port, running
from tests.unit.logger.factories import POISON, fetch_all, fetch_value, make_payload

ROOT = Path(__file__).parents[3]
N_EVENTS = "SELECT count(*) FROM events"


@contextlib.contextmanager
def logger_process(redis_url: str, dsn: str, log: Path) -> Iterator[tuple[int, int]]:
    """Run a logger with small batches; yields its process id and port."""
    port = free_port()
    environment = os.environ | {
        "SEGUE_REDIS_URL": redis_url,
        "SEGUE_POSTGRES_DSN": dsn,
        "SEGUE_LOGGER_PORT": str(port),
        "SEGUE_LOGGER_BATCH_SIZE": "20",
        "SEGUE_LOGGER_BATCH_WAIT_S": "0.02",
        "SEGUE_LOGGER_CLAIM_IDLE_S": "0.5",
        "SEGUE_LOGGER_MAINTENANCE_INTERVAL_S": "0.2",
    }
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.logger"],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=output,
        )
    try:
        yield process.pid, port
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def until_count(dsn: str, minimum: int, *, timeout_s: float = 60) -> None:
    """Wait for that many rows."""
    deadline = time.monotonic() + timeout_s
    found = -1
    while found < minimum:
        assert time.monotonic() < deadline, f"{found} of {minimum} rows"
        await asyncio.sleep(0.02)
        with contextlib.suppress(*NOT_YET, asyncpg.UndefinedTableError):
            found = await fetch_value(dsn, N_EVENTS)


async def until_drained(stream: RedisEventStream, *, timeout_s: float = 60) -> None:
    """Wait until every entry is acknowledged."""
    deadline = time.monotonic() + timeout_s
    lag = None
    while lag is None or lag.pending or lag.undelivered:
        assert time.monotonic() < deadline, lag
        await asyncio.sleep(0.05)
        with contextlib.suppress(RedisError):  # the connection from before a restart
            lag = await stream.lag()


async def append_all(stream: RedisEventStream, n_events: int) -> None:
    for start in range(0, n_events, 500):
        await stream.append([make_payload(i) for i in range(start, min(start + 500, n_events))])


@pytest.fixture
async def stream(redis: Redis) -> RedisEventStream:
    stream = RedisEventStream(redis)
    await stream.open()
    return stream


async def test_a_logger_killed_in_mid_batch_loses_and_repeats_nothing(
    stream: RedisEventStream, valkey: ValkeyServer, database: PostgresServer, tmp_path: Path
) -> None:
    n_events = 6000
    await append_all(stream, n_events)
    for minimum in (200, 1500, 3000):
        with logger_process(valkey.url, database.dsn, tmp_path / "log") as (pid, _):
            await until_count(database.dsn, minimum)
            os.kill(pid, signal.SIGKILL)
    assert await fetch_value(database.dsn, N_EVENTS) < n_events  # the kills came in time
    with logger_process(valkey.url, database.dsn, tmp_path / "log"):
        await until_drained(stream)
    assert await fetch_value(database.dsn, N_EVENTS) == n_events
    assert (
        await fetch_value(database.dsn, "SELECT count(DISTINCT event_id) FROM events") == n_events
    )


async def test_two_loggers_share_a_stream_and_duplicates_are_one_row(
    stream: RedisEventStream, valkey: ValkeyServer, database: PostgresServer, tmp_path: Path
) -> None:
    await append_all(stream, 2000)
    await append_all(stream, 2000)
    with (
        logger_process(valkey.url, database.dsn, tmp_path / "log"),
        logger_process(valkey.url, database.dsn, tmp_path / "log"),
    ):
        await until_drained(stream)
    assert await fetch_value(database.dsn, N_EVENTS) == 2000


async def test_poison_in_the_stream_holds_nothing_up(
    stream: RedisEventStream,
    redis: Redis,
    valkey: ValkeyServer,
    database: PostgresServer,
    tmp_path: Path,
) -> None:
    await redis.xadd(STREAM_KEY, {"other": "field"})
    for i, (payload, _) in enumerate(POISON.values()):
        await stream.append([payload, make_payload(i + 1)])
    with logger_process(valkey.url, database.dsn, tmp_path / "log") as (_, port):
        await until_drained(stream)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            lag = (await client.get("/lag")).json()
            assert (await client.get("/health/ready")).json()["status"] == "ok"
    assert await fetch_value(database.dsn, N_EVENTS) == len(POISON)
    assert lag["dead_letters"] == len(POISON) + 1
    reasons = await fetch_all(database.dsn, "SELECT reason FROM dead_letters")
    assert all(row["reason"].partition(": ")[2] for row in reasons)


@pytest.fixture
async def own_servers(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[ValkeyServer, PostgresServer, Path]]:
    """Prepare a Valkey and a Postgres that a test may stop."""
    folder = tmp_path_factory.mktemp("own")
    valkey = ValkeyServer(free_port(), folder / "valkey")
    postgres = PostgresServer(free_port(), folder / "postgres")
    valkey.prepare()
    postgres.prepare()
    yield valkey, postgres, folder
    postgres.remove()


async def test_servers_that_stop_and_come_back_lose_nothing(
    own_servers: tuple[ValkeyServer, PostgresServer, Path],
) -> None:
    valkey, postgres, folder = own_servers

    def run_valkey() -> contextlib.AbstractContextManager[object]:
        return running(valkey.command(), port=valkey.port, log=folder / "log")

    @contextlib.contextmanager
    def run_postgres() -> Iterator[None]:
        command, user = postgres.command(), postgres.system_user
        with running(command, port=postgres.port, log=folder / "log", user=user) as process:
            yield
            process.send_signal(signal.SIGINT)  # SIGTERM would wait for its clients
            process.wait(15)

    async with Redis.from_url(valkey.url) as redis:
        stream = RedisEventStream(redis)
        with logger_process(valkey.url, postgres.dsn, folder / "logger") as (_, port):
            # The logger waits for a Postgres that is not up yet.
            with run_valkey():
                with run_postgres():
                    await append_all(stream, 1000)
                    await until_count(postgres.dsn, 100)
                await append_all(stream, 2000)  # half of it again
                async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                    answer = await client.get("/health/ready")
                    assert answer.status_code == 503
                    assert answer.json()["parts"]["postgres"].startswith("down")
                    body = {
                        "content": make_payload(),
                        "headers": {"Content-Type": "application/x-ndjson"},
                    }
                    assert (await client.post("/events", **body)).status_code == 503
            # Valkey has stopped too, with entries in its append-only file.
            with run_postgres(), run_valkey():
                await until_count(postgres.dsn, 2000)
                await until_drained(stream)
                assert await fetch_value(postgres.dsn, N_EVENTS) == 2000
