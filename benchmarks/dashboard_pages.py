"""Claim: a page takes under 300 ms at a million events, whether its results are there or not yet.

N_EVENTS=1000000 python -m benchmarks.dashboard_pages

Starts a Postgres of its own, fills it as `analysis_speed` does, and asks a dashboard here
for its pages: at first, while the results are being computed, and then with them.
"""

import asyncio
import re
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path
from socket import socket
from typing import TypeVar

import asyncpg
import httpx
from asgi_lifespan import LifespanManager

from benchmarks.analysis_speed import EVENTS, EXPERIMENT, N_EVENTS, TRACKS, running
from deploy.local.servers import PostgresServer
from services.dashboard.adapters.results import PostgresResults
from services.dashboard.app import create_app
from services.dashboard.settings import Settings
from services.logger.adapters.migrate import migrate_async, wait_for_postgres
from services.logger.adapters.partitions import Partitions, month_of

DEFINITIONS = f"""
serving: {EXPERIMENT}
experiments:
  - name: {EXPERIMENT}
    treatments: [{{name: C, recommender: random}}, {{name: T1, recommender: random}}]
"""
T = TypeVar("T")
HTML = {"Accept": "text/html"}
N_REPEATS = 20


def main() -> None:
    """Start Postgres and measure."""
    with tempfile.TemporaryDirectory(prefix="segue-bench-") as folder, socket() as probe:
        Path(folder).chmod(0o755)
        probe.bind(("127.0.0.1", 0))
        server = PostgresServer(port=probe.getsockname()[1], folder=Path(folder) / "postgres")
        probe.close()
        definitions = Path(folder) / "experiments.yaml"
        definitions.write_text(DEFINITIONS)
        with running(server):
            asyncio.run(run(server.dsn, definitions))


async def run(dsn: str, definitions: Path) -> None:
    """Fill, ask, print."""
    await fill(dsn)
    settings = Settings(postgres_dsn=dsn, experiments=definitions)
    source = PostgresResults(dsn)
    await tell("users per treatment", source.fetch_users_per_arm())
    readings = await tell("results and timeline", source.fetch_readings(EXPERIMENT))
    assert readings.timeline is not None
    async with LifespanManager(create_app(settings)) as manager:
        transport = httpx.ASGITransport(app=manager.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            await measure(client)


async def measure(client: httpx.AsyncClient) -> None:
    """Ask for each page: at first, until its results are there, and then often."""
    for path in ("/experiments", f"/experiments/{EXPERIMENT}"):
        times = []
        while True:
            began = time.perf_counter()
            page = await client.get(path, headers=HTML)
            times.append(time.perf_counter() - began)
            if page.is_error:
                raise SystemExit(f"{path}: {page.text}")
            if "aria-busy" not in page.text and re.search(r"\d users|effects-table", page.text):
                break
            await asyncio.sleep(0.2)
        waits = f"while computed: at most {1000 * max(times[:-1], default=0):.0f} ms"
        print(f"  {path}: {waits}; first with results {1000 * times[-1]:.0f} ms", flush=True)
        later = []
        for _ in range(N_REPEATS):
            began = time.perf_counter()
            await client.get(path, headers=HTML)
            later.append(time.perf_counter() - began)
        print(f"  {path}: then {1000 * sorted(later)[N_REPEATS // 2]:.0f} ms (median)", flush=True)


async def fill(dsn: str) -> None:
    """Make the log."""
    await wait_for_postgres(dsn, timeout_s=60)
    await migrate_async(dsn)
    connection = await asyncpg.connect(dsn)
    start = await connection.fetchval("SELECT '2026-03-01Z'::timestamptz")
    await Partitions().ensure(connection, {month_of(start)})
    await connection.execute(TRACKS)
    arm = "CASE listener % 2 WHEN 0 THEN 'C' ELSE 'T1' END"
    await connection.execute(EVENTS.replace("'CT'::text", arm), EXPERIMENT, N_EVENTS)
    await connection.execute("VACUUM ANALYZE")
    await connection.fetchval("SELECT refresh_listening_days()")
    await connection.execute("VACUUM ANALYZE listening_days")
    await connection.close()
    print(f"{N_EVENTS:,} events", flush=True)


async def tell(name: str, work: Awaitable[T]) -> T:
    """Do something, and say how long it took."""
    began = time.perf_counter()
    result = await work
    print(f"  {name}: {time.perf_counter() - began:.2f} s", flush=True)
    return result


if __name__ == "__main__":
    main()
