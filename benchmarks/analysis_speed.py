"""Claim: the results of an experiment come in seconds, and Python holds next to none of the log.

N_EVENTS=1000000 python -m benchmarks.analysis_speed

Starts a Postgres of its own, fills it with sessions of about seven events over 28 days (a listener
for each hundred events; the experiment begins on day 14, so that there is history), and asks what
`python -m analysis` asks.
"""

import asyncio
import contextlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from socket import socket

import asyncpg

from analysis.adapters import measurements as adapter
from analysis.adapters.queries import ARMS, METRICS, QUANTILES, STORED_DAYS
from analysis.core.comparison import compare
from deploy.local.servers import PostgresServer
from services.logger.adapters.migrate import migrate_async, wait_for_postgres
from services.logger.adapters.partitions import Partitions, month_of

N_EVENTS = int(os.environ.get("N_EVENTS", "1000000"))
EXPERIMENT = "SPEED"
TRACKS = """
INSERT INTO tracks SELECT i, 'artist ' || i % 5000, 'title', NULL FROM generate_series(0, 49999) i
"""
# hashint4 scatters: which session is whose, and when, follows from its number alone.
EVENTS = """
INSERT INTO events (event_id, message, occurred_at, user_id, session_id, position, track_id, time,
                    latency, recommendation, recommender, propensity, stored_at, experiments)
SELECT gen_random_uuid(), CASE WHEN position = 6 THEN 'last' ELSE 'next' END,
       began + position * interval '1 second', listener,
       lpad(to_hex(session), 32, '0')::uuid, position,
       abs(hashint4(session * 7 + position)) % 50000,
       abs(hashint4(session * 11 + position)) % 101 / 100.0,
       0.001 + abs(hashint4(session * 13 + position)) % 1000 / 1e6,
       CASE WHEN position = 6 THEN NULL ELSE position END,
       CASE WHEN position = 6 THEN NULL ELSE 'random' END,
       CASE WHEN position = 6 THEN NULL ELSE 0.5 END, now() - interval '1 hour',
       CASE WHEN began < '2026-03-15Z' THEN '{"OTHER": "C"}'::jsonb
            ELSE jsonb_build_object('OTHER', 'C', $1::text, 'CT'::text) END
FROM generate_series(0, $2 / 7 - 1) AS session
CROSS JOIN LATERAL (
    SELECT abs(hashint4(session)) % greatest($2 / 100, 1) AS listener,
           '2026-03-01Z'::timestamptz
               + abs(hashint4(session + 1000000000)) % 2419200 * interval '1 second' AS began
) AS drawn
CROSS JOIN generate_series(0, 6) AS position
"""


def main() -> None:
    """Start Postgres and measure."""
    with tempfile.TemporaryDirectory(prefix="segue-bench-") as folder, socket() as probe:
        Path(folder).chmod(0o755)
        probe.bind(("127.0.0.1", 0))
        server = PostgresServer(port=probe.getsockname()[1], folder=Path(folder) / "postgres")
        probe.close()
        with running(server):
            asyncio.run(run(server.dsn))


@contextlib.contextmanager
def running(server: PostgresServer) -> Iterator[None]:
    """Run Postgres for a block."""
    server.prepare()
    process = subprocess.Popen(
        server.command(), user=server.system_user, cwd="/", stdout=sys.stderr, stderr=sys.stderr
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait()


async def run(dsn: str) -> None:
    """Fill, ask, print."""
    await wait_for_postgres(dsn, timeout_s=60)
    await migrate_async(dsn)
    connection = await asyncpg.connect(dsn)
    start = await connection.fetchval("SELECT '2026-03-01Z'::timestamptz")
    await Partitions().ensure(connection, {month_of(start)})
    began = time.perf_counter()
    await connection.execute(TRACKS)
    arm = "CASE listener % 2 WHEN 0 THEN 'C' ELSE 'T1' END"
    await connection.execute(EVENTS.replace("'CT'::text", arm), EXPERIMENT, N_EVENTS)
    await connection.execute("VACUUM ANALYZE")
    print(f"{N_EVENTS:,} events stored in {time.perf_counter() - began:.0f} s", flush=True)
    for name in ("first", "later"):
        began = time.perf_counter()
        n_rows = await connection.fetchval("SELECT refresh_listening_days()")
        taken = time.perf_counter() - began
        print(f"  {name} refresh: {n_rows:,} days of listeners in {taken:.2f} s", flush=True)
    await connection.execute("VACUUM ANALYZE listening_days")
    await connection.close()
    for _ in range(2):
        await measure(dsn)


async def measure(dsn: str) -> None:
    """Ask each question, then all of them as the command line does."""
    always = (EXPERIMENT, adapter.ALWAYS, adapter.FOREVER)
    questions = {
        "arms": (ARMS, ()),
        "metrics": (METRICS, (7, 28)),
        "quantiles": (QUANTILES, (adapter.MOST_REQUESTS,)),
    }
    async with adapter.open_database(dsn) as connection:
        for name, (query, more) in questions.items():
            began = time.perf_counter()
            await connection.fetch(query.replace("{days}", STORED_DAYS), *always, *more)
            print(f"  {name:12} {time.perf_counter() - began:6.2f} s", flush=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    async with adapter.open_database(dsn) as connection:
        comparison = compare(await adapter.fetch_measurements(connection, EXPERIMENT))
    taken = time.perf_counter() - began
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    n_users = sum(arm.n_users for arm in comparison.arms)
    print(f"  {n_users:,} users, all results: {taken:.2f} s; Python grew by {grown:.1f} MB")


if __name__ == "__main__":
    main()
