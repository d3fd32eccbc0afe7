"""The trainer as a service in this process, on real servers with made-up playbacks."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import numpy.typing as npt
import psutil
from asgi_lifespan import LifespanManager

from analysis.__main__ import main as analyse
from deploy.local.servers import PostgresServer, ValkeyServer
from services.logger.adapters.partitions import Partitions, month_of
from services.trainer.app import create_app
from services.trainer.settings import Settings
from shared.events import make_event_id

QUICK = {"dim": 4, "epochs": 2, "neighbours": 5}


def make_settings(
    valkey: ValkeyServer, postgres: PostgresServer, folder: Path, **more: Any
) -> Settings:
    """Make settings for these servers."""
    return Settings(
        **{"map_tracks": 0} | more,  # a map takes seconds
        redis_url=valkey.url,
        postgres_dsn=postgres.dsn,
        folder=folder,
        publish_attempts=2,
        publish_wait_s=0.05,
        refresh_interval_s=0.1,
        copy_interval_s=0.1,
    )


@contextlib.asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the trainer; yield a client of it."""
    async with LifespanManager(create_app(settings)) as manager:
        transport = httpx.ASGITransport(manager.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://trainer") as client:
            yield client


async def finish(client: httpx.AsyncClient, job_id: str, *, timeout_s: float = 120) -> Any:
    """Wait until a job is no longer running; return it."""
    async with asyncio.timeout(timeout_s):
        while True:
            job = (await client.get(f"/train/{job_id}")).json()
            if job["status"] != "running":
                return job
            await asyncio.sleep(0.05)


async def train(client: httpx.AsyncClient, **parameters: Any) -> Any:
    """Train to the end; return the job."""
    answer = await client.post("/train", json=QUICK | parameters)
    assert answer.status_code == 202, answer.text
    return await finish(client, answer.json()["job_id"])


async def store_playbacks(dsn: str, playbacks: npt.NDArray[Any]) -> None:
    """Write playbacks as the logger would; each answers with track 0 or ends its session."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    rows = []
    for row in playbacks:
        at = epoch + timedelta(microseconds=int(row["at"]) // 1000 * 1000)
        session = UUID(int=(int(row["session_high"]) % 2**64) << 64 | int(row["session_low"]))
        rows.append(
            {
                "event_id": make_event_id(at),
                "message": "next",
                "occurred_at": at,
                "user_id": int(row["user"]),
                "session_id": session,
                "position": int(row["position"]),
                "track_id": int(row["track"]),
                "time": float(row["time"]),
                "latency": 0.0,
                "recommendation": 0,
            }
        )
    connection = await asyncpg.connect(dsn)
    try:
        await Partitions().ensure(connection, {month_of(row["occurred_at"]) for row in rows})
        await connection.copy_records_to_table(
            "events", records=[tuple(row.values()) for row in rows], columns=list(rows[0])
        )
    finally:
        await connection.close()


async def empty_events(dsn: str) -> None:
    """Forget the log."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("DELETE FROM events")
    finally:
        await connection.close()


def training_processes() -> list[psutil.Process]:
    """Return the training processes that this process started."""
    found = []
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if "services.trainer.job" in process.cmdline():
                found.append(process)
    return found


async def wait_for_training_process(*, timeout_s: float = 10) -> psutil.Process:
    """Return the training process as soon as there is one."""
    async with asyncio.timeout(timeout_s):
        while True:
            if processes := training_processes():
                return processes[0]
            await asyncio.sleep(0.01)


async def wait_for_epoch(client: httpx.AsyncClient, job_id: str, epoch: int) -> None:
    """Wait until a training has told of an epoch."""
    async with asyncio.timeout(120):
        while True:
            job = (await client.get(f"/train/{job_id}")).json()
            assert job["status"] == "running", job
            if job["progress"].get("epoch", 0) >= epoch:
                return
            await asyncio.sleep(0.01)


async def export_events(dsn: str, to: str) -> None:
    """Export the log as `python -m analysis export` does."""
    arguments = ["export", "--format", "parquet", "--to", to, "--dsn", dsn]
    assert await asyncio.to_thread(analyse, arguments) == 0
