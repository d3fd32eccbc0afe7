"""`python -m benchmarks.logger_delay`: from an event's time to its row, at a steady rate.

Starts a Valkey, a Postgres and a logger of its own, with its usual settings. Events come as from
a recommender, every 10 ms what is due, each with the time at which it is appended; the row's
`stored_at` is the database's clock on the same machine.
"""

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import numpy as np
import psutil
from redis.asyncio import Redis

from benchmarks.logger_throughput import drain, free_port, make_payload, serving
from deploy.local.programs import ready_check
from deploy.local.servers import PostgresServer, ValkeyServer
from services.logger.adapters.migrate import wait_for_postgres
from shared.event_stream import RedisEventStream
from shared.events import make_event_id, truncate_to_milliseconds

TICK_S = 0.01
WARM_S = 2.0  # of traffic that is not measured
DELAYS = "SELECT extract(epoch FROM stored_at - occurred_at) FROM events WHERE occurred_at >= $1"


def make_present(number: int) -> bytes:
    """Make an event of now."""
    now = truncate_to_milliseconds(datetime.now(UTC))
    return make_payload(number, now, event_id=make_event_id(now), session=make_event_id(now))


async def send(stream: RedisEventStream, *, rate: float, seconds: float) -> None:
    """Append events at a rate; what is late is sent at once."""
    began, n_sent = time.monotonic(), 0
    while (elapsed := time.monotonic() - began) < seconds:
        n_due = int(elapsed * rate) - n_sent
        if n_due:
            await stream.append([make_present(n_sent + i) for i in range(n_due)])
            n_sent += n_due
        await asyncio.sleep(TICK_S)


async def measure(valkey: ValkeyServer, dsn: str, *, rate: float, seconds: float) -> list[float]:
    """Send, wait until all is stored, and return each event's delay in seconds."""
    async with Redis.from_url(valkey.url) as redis:
        stream = RedisEventStream(redis)
        await stream.open()
        await send(stream, rate=rate, seconds=WARM_S)
        since = datetime.now(UTC)
        await send(stream, rate=rate, seconds=seconds)
        await drain(stream)
    connection = await asyncpg.connect(dsn)
    try:
        return [float(row[0]) for row in await connection.fetch(DELAYS, since)]
    finally:
        await connection.close()


@contextlib.contextmanager
def running_logger(valkey: ValkeyServer, dsn: str, log: Path) -> Iterator[psutil.Process]:
    """Run the service as it is deployed."""
    port = free_port()
    environment = os.environ | {
        "SEGUE_REDIS_URL": valkey.url,
        "SEGUE_POSTGRES_DSN": dsn,
        "SEGUE_LOGGER_PORT": str(port),
    }
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.logger"],
            env=environment,
            stdout=output,
            stderr=output,
        )
    try:
        is_ready = ready_check(f"http://127.0.0.1:{port}")
        while not is_ready():
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def main(words: Sequence[str]) -> int:
    """Start the servers, measure, remove everything."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.logger_delay", description=__doc__)
    parser.add_argument("--rate", type=float, default=2_000, help="events per second (2000)")
    parser.add_argument("--seconds", type=float, default=20, help="measured (20)")
    arguments = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        valkey = ValkeyServer(free_port(), folder / "valkey")
        postgres = PostgresServer(free_port(), folder / "postgres")
        valkey.prepare()
        postgres.prepare()
        try:
            with (
                serving(valkey.command(), None, folder / "valkey.log"),
                serving(postgres.command(), postgres.system_user, folder / "postgres.log"),
            ):
                asyncio.run(wait_for_postgres(postgres.dsn, timeout_s=30))
                with running_logger(valkey, postgres.dsn, folder / "logger.log") as logger:
                    before = sum(logger.cpu_times()[:2])
                    delays_s = asyncio.run(
                        measure(
                            valkey, postgres.dsn, rate=arguments.rate, seconds=arguments.seconds
                        )
                    )
                    cpu_s = sum(logger.cpu_times()[:2]) - before
        finally:
            postgres.remove()
    p50, p99, worst = np.percentile(delays_s, [50, 99, 100])
    share = cpu_s / (arguments.seconds + WARM_S)
    print(
        f"{len(delays_s):,} events at {len(delays_s) / arguments.seconds:,.0f}/s: "
        f"p50 {p50:.3f} s, p99 {p99:.3f} s, slowest {worst:.3f} s; "
        f"the logger used {share:.0%} of a core"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
