"""Claim: a page takes under 300 ms at a million events, whether its results are there or not yet.

python -m benchmarks.dashboard_pages --events 1000000

Starts a Postgres of its own, fills it as `analysis_speed` does, and asks a dashboard here
for its pages: at first, while the results are being computed, and then with them. The baseline is
what the results would take from the events themselves.
"""

import argparse
import asyncio
import re
import tempfile
import time
from collections.abc import Awaitable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import httpx
from asgi_lifespan import LifespanManager

from analysis.adapters.measurements import fetch_measurements, open_database
from analysis.core.comparison import Measurements
from benchmarks.analysis_speed import EXPERIMENT, fill, running_postgres
from services.dashboard.adapters.results import PostgresResults
from services.dashboard.app import create_app
from services.dashboard.settings import Settings

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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    n_events = parser.parse_args().events
    with tempfile.TemporaryDirectory(prefix="segue-bench-") as folder, running_postgres() as dsn:
        definitions = Path(folder) / "experiments.yaml"
        definitions.write_text(DEFINITIONS)
        asyncio.run(run(dsn, definitions, n_events=n_events))


async def run(dsn: str, definitions: Path, *, n_events: int) -> None:
    """Fill, ask, print."""
    await fill(dsn, n_events=n_events)
    settings = Settings(postgres_dsn=dsn, experiments=definitions)
    source = PostgresResults(dsn)
    await tell("users per treatment", source.fetch_users_per_arm())
    readings = await tell("results and timeline", source.fetch_readings(EXPERIMENT))
    assert readings.timeline is not None
    await tell("baseline, results alone, from the events", measure_events(dsn))
    async with LifespanManager(create_app(settings)) as manager:
        transport = httpx.ASGITransport(app=manager.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            await measure(client)


async def measure_events(dsn: str) -> Measurements:
    """Ask the events, as bounds that are no midnights do."""
    async with open_database(dsn) as connection:
        since = datetime(2000, 1, 1, 0, 0, 1, tzinfo=UTC)
        return await fetch_measurements(connection, EXPERIMENT, since=since)


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
            if "aria-busy" not in page.text and re.search("<small>users|effects-table", page.text):
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


async def tell(name: str, work: Awaitable[T]) -> T:
    """Do something, and say how long it took."""
    began = time.perf_counter()
    result = await work
    print(f"  {name}: {time.perf_counter() - began:.2f} s", flush=True)
    return result


if __name__ == "__main__":
    main()
