"""Claim: the results of an experiment come in two seconds at ten million events.

python -m benchmarks.analysis_speed --events 10000000

Starts a Postgres of its own, fills it with sessions of about seven events over 28 days (a listener
for each hundred events; the experiment begins on day 14, so that there is history), asks what
`python -m analysis` asks, lets some listeners hear on, and asks again. The same questions put to
the events themselves are the baseline. Beside the seconds stand those of the processor, which do
not depend on what else the machine does.
"""

import argparse
import asyncio
import contextlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from socket import socket

import asyncpg
import psutil

from analysis.adapters.measurements import fetch_measurements, open_database
from analysis.core.comparison import compare
from deploy.local.servers import PostgresServer
from services.logger.adapters.migrate import migrate_async, wait_for_postgres
from services.logger.adapters.partitions import Partitions, month_of

EXPERIMENT = "SPEED"
START = datetime(2026, 3, 1, tzinfo=UTC)
TRACKS = """
INSERT INTO tracks SELECT i, 'artist ' || i % 5000, 'title', NULL FROM generate_series(0, 49999) i
"""
# hashint4 scatters: which session is whose, and when, follows from its number alone.
EVENTS = """
INSERT INTO events (event_id, message, occurred_at, user_id, session_id, position, track_id, time,
                    latency, recommendation, recommender, propensity, experiments)
SELECT gen_random_uuid(), CASE WHEN position = 6 THEN 'last' ELSE 'next' END,
       began + position * interval '1 second', listener,
       lpad(to_hex(session), 32, '0')::uuid, position,
       abs(hashint4(session * 7 + position)) % 50000,
       abs(hashint4(session * 11 + position)) % 101 / 100.0,
       0.001 + abs(hashint4(session * 13 + position)) % 1000 / 1e6,
       CASE WHEN position = 6 THEN NULL ELSE position END,
       CASE WHEN position = 6 THEN NULL ELSE 'random' END,
       CASE WHEN position = 6 THEN NULL ELSE 0.5 END,
       CASE WHEN began < '2026-03-15Z' THEN '{"OTHER": "C"}'::jsonb
            ELSE jsonb_build_object(
                'OTHER', 'C', $1::text, CASE listener % 2 WHEN 0 THEN 'C' ELSE 'T1' END
            )
       END
FROM generate_series($2::integer, $2 + $4 / 7 - 1) AS session
CROSS JOIN LATERAL (
    SELECT abs(hashint4(session)) % greatest($3 / 100, 1) AS listener,
           '2026-03-01Z'::timestamptz
               + abs(hashint4(session + 1000000000)) % 2419200 * interval '1 second' AS began
) AS drawn
CROSS JOIN generate_series(0, 6) AS position
"""


N_NEWS = 7_000  # events of a thousand sessions


def main() -> None:
    """Start Postgres and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--no-baseline", action="store_true", help="do not ask the events")
    options = parser.parse_args()
    with running_postgres() as dsn:
        asyncio.run(run(dsn, n_events=options.events, with_baseline=not options.no_baseline))


@contextlib.contextmanager
def running_postgres() -> Iterator[str]:
    """Run a Postgres for a block; give its address."""
    with tempfile.TemporaryDirectory(prefix="segue-bench-") as folder, socket() as probe:
        Path(folder).chmod(0o755)
        probe.bind(("127.0.0.1", 0))
        server = PostgresServer(port=probe.getsockname()[1], folder=Path(folder) / "postgres")
        probe.close()
        server.prepare()
        process = subprocess.Popen(
            server.command(), user=server.system_user, cwd="/", stdout=sys.stderr, stderr=sys.stderr
        )
        try:
            yield server.dsn
        finally:
            process.terminate()
            process.wait()
            server.remove()


async def run(dsn: str, *, n_events: int, with_baseline: bool) -> None:
    """Fill, ask, print."""
    await fill(dsn, n_events=n_events)
    for name in ("first", "again", "later"):
        if name == "later":
            connection = await asyncpg.connect(dsn)
            await add_sessions(connection, first=n_events, n_events=N_NEWS, n_in_all=n_events)
            await connection.close()
            name = f"with {N_NEWS:,} new events"
        taken = await ask(dsn, name)
    if with_baseline:
        bounds = datetime(2000, 1, 1, 0, 0, 1, tzinfo=UTC)  # no midnight: takes the events
        naive = await ask(dsn, "from the events", since=bounds)
        print(f"  {naive / taken:.0f} times as fast as from the events (processor)")


async def fill(dsn: str, *, n_events: int) -> None:
    """Make the log, and what is kept of it."""
    await wait_for_postgres(dsn, timeout_s=60)
    await migrate_async(dsn)
    connection = await asyncpg.connect(dsn)
    await Partitions().ensure(connection, {month_of(START)})
    began = time.perf_counter()
    await connection.execute(TRACKS)
    await add_sessions(connection, first=0, n_events=n_events, n_in_all=n_events)
    await connection.execute("VACUUM ANALYZE")
    print(f"{n_events:,} events stored in {time.perf_counter() - began:.0f} s", flush=True)
    backend = psutil.Process(await connection.fetchval("SELECT pg_backend_pid()"))
    before, began = _processor_s(backend), time.perf_counter()
    n_rows = await connection.fetchval("SELECT refresh_listening_days()")
    taken, of_server = time.perf_counter() - began, _processor_s(backend) - before
    print(
        f"  first refresh: {n_rows:,} days of listeners in {taken:.1f} s, "
        f"processor {of_server:.1f} s with its workers",
        flush=True,
    )
    await connection.execute("VACUUM ANALYZE listening_days, experiment_listeners")
    await connection.close()


def _processor_s(backend: psutil.Process) -> float:
    """Return the processor's seconds of a connection, and of all workers that have ended."""
    server = backend.parent()
    assert server is not None
    ended = server.cpu_times()
    return float(sum(backend.cpu_times()[:2]) + ended.children_user + ended.children_system)


async def add_sessions(
    connection: asyncpg.Connection, *, first: int, n_events: int, n_in_all: int
) -> None:
    """Add sessions from a number on, of the listeners that a log of so many events has."""
    await connection.execute(EVENTS, EXPERIMENT, first, n_in_all, n_events)


async def ask(dsn: str, name: str, *, since: datetime | None = None) -> float:
    """Ask as the command line does, and print what it took; return the processor's seconds."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    async with open_database(dsn) as connection:
        server = psutil.Process(await connection.fetchval("SELECT pg_backend_pid()"))
        measurements = await fetch_measurements(connection, EXPERIMENT, since=since)
        of_server = sum(server.cpu_times()[:2])
    comparison = compare(measurements)
    taken, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    of_python = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    grown = (after.ru_maxrss - before.ru_maxrss) / 1024
    n_users = sum(arm.n_users for arm in comparison.arms)
    print(
        f"  {name}: {n_users:,} users in {taken:.2f} s, processor {of_server + of_python:.2f} s; "
        f"Python grew by {grown:.1f} MB",
        flush=True,
    )
    return of_server + of_python


if __name__ == "__main__":
    main()
