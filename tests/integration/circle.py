"""Listeners of a recommender and a logger beside it: who played what has become which rows."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
from asgi_lifespan import LifespanManager
from fastapi import FastAPI

from deploy.local.servers import PostgresServer
from services.logger.app import create_app as create_logger
from services.logger.settings import Settings as LoggerSettings
from tests.integration.analysis.log import connect
from tests.integration.recommender.conftest import Service, until
from tests.unit.recommender.factories import FIRST_ID

USERS = range(60)
N_TRACKS = 6  # of a session, its last one included


@contextlib.asynccontextmanager
async def calling(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Serve an application; yield a client of it."""
    async with LifespanManager(app, startup_timeout=60, shutdown_timeout=60) as manager:
        transport = httpx.ASGITransport(app=manager.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield client


def logging_to(database: PostgresServer, redis_url: str, **changes: Any) -> FastAPI:
    """Make a logger that is quick to notice everything."""
    quick = {
        "batch_size": 50,
        "batch_wait_s": 0.02,
        "claim_idle_s": 1,
        "maintenance_interval_s": 0.5,
    }
    settings = LoggerSettings(
        redis_url=redis_url, postgres_dsn=database.dsn, **{**quick, **changes}
    )
    return create_logger(settings)


async def play(service: Service, user: int, *, first: int = 0, track: int | None = None) -> int:
    """Play a session to its end, through whatever happens to Redis; return its last track."""
    track = FIRST_ID + user if track is None else track
    for position in range(first, N_TRACKS):
        track = await step(service, user, position, track)
    return track


async def step(service: Service, user: int, position: int, track: int) -> int:
    """Play a track, asking until there is an answer; return the track that follows."""
    kind = "last" if position == N_TRACKS - 1 else "next"
    key = {"Idempotency-Key": f"{user} {position}"}
    body = {"track": track, "time": 1.0 if position == 0 else (user * position % 10) / 10}
    async with asyncio.timeout(30):
        while True:
            answer = await service.client.post(f"/{kind}/{user}", json=body, headers=key)
            if answer.status_code != 503:
                break
            await asyncio.sleep(0.05)
    assert answer.status_code == 200, answer.text
    return int(answer.json().get("track", track))


async def fetch_rows(database: PostgresServer) -> list[Any]:
    """Fetch what is logged."""
    query = "SELECT user_id, session_id, position, fallback FROM events"
    async with connect(database.dsn) as connection:
        rows: list[Any] = await connection.fetch(query)
    return rows


async def assert_every_event_is_one_row(database: PostgresServer) -> None:
    """Assert that all listeners' sessions are logged, each step once."""

    async def are_there() -> bool:
        return len(await fetch_rows(database)) >= len(USERS) * N_TRACKS

    await until(are_there, timeout_s=30)
    rows = await fetch_rows(database)
    expected = sorted((user, position) for user in USERS for position in range(N_TRACKS))
    assert sorted((row["user_id"], row["position"]) for row in rows) == expected
    assert len({row["session_id"] for row in rows}) == len(USERS)
