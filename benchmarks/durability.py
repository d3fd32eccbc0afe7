"""`python -m benchmarks.durability`: what each `appendfsync` costs, and what a kill loses with it.

A Valkey of our own takes commits as the recommender makes them, while the disk is kept busy by
somebody else; then it is killed, started again on its file, and asked for what it had acknowledged.
The baseline is `everysec`.
"""

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from redis import Redis

from benchmarks.logger_throughput import free_port, make_payloads
from deploy.local.programs import answers_redis
from deploy.local.servers import ValkeyServer
from services.recommender.adapters.commit_spool import Commit
from services.recommender.adapters.redis_connection import RedisConnection
from services.recommender.adapters.session_store import RedisSessionStore, StoreUnavailableError
from shared.event_stream import FIELD, STREAM_KEY
from shared.events import decode_event

POLICIES = ("no", "everysec", "always")
DEADLINE_S = 10.0
BUSY_BYTES = 32 * 1024 * 1024


@dataclass
class Tally:
    """What one policy came to, over its rounds.

    Attributes:
        rates: Commits per second.
        latencies_s: Of commits.
        n_acknowledged: Of all rounds.
        n_lost: Acknowledged, and not there after the kill.
    """

    rates: list[float] = field(default_factory=list)
    latencies_s: list[float] = field(default_factory=list)
    n_acknowledged: int = 0
    n_lost: int = 0


@contextlib.contextmanager
def busy_disk(folder: Path) -> Iterator[None]:
    """Write and flush a file again and again: what shares the disk with the log."""
    is_over = threading.Event()

    def work() -> None:
        block = os.urandom(BUSY_BYTES)
        while not is_over.is_set():
            with (folder / "busy").open("wb") as file:
                file.write(block)
                os.fsync(file.fileno())

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def start(server: ValkeyServer, policy: str) -> subprocess.Popen[bytes]:
    """Start Valkey with a policy, and wait until it has read its file."""
    command = [*server.command(), "--appendfsync", policy]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while not answers_redis(server.url):
        time.sleep(0.02)
    return process


async def commit_until_killed(
    url: str, process: subprocess.Popen[bytes], *, seconds: float, n_clients: int, name: str
) -> tuple[list[bytes], list[float]]:
    """Commit as the recommender does; kill the server in the middle.

    Returns:
        The events that were acknowledged, and how long each took, in seconds.
    """
    payloads = iter(make_payloads(200_000, name))
    store = RedisSessionStore(RedisConnection(url), timeout_s=1800, deadline_s=DEADLINE_S)
    done: list[bytes] = []
    latencies_s: list[float] = []

    async def commit_on(user: int) -> None:
        with contextlib.suppress(StoreUnavailableError):
            for payload in payloads:
                tag = decode_event(payload).event_id.bytes
                commit = Commit(user, b"", tag + bytes(400), payload)
                began = time.perf_counter()
                await store.write(commit)
                latencies_s.append(time.perf_counter() - began)
                done.append(payload)

    clients = [asyncio.create_task(commit_on(user)) for user in range(n_clients)]
    await asyncio.sleep(seconds)
    process.kill()
    await asyncio.gather(*clients)
    await store.close()
    process.wait()
    return done, latencies_s


def play_round(folder: Path, policy: str, arguments: argparse.Namespace, tally: Tally) -> None:
    """Start, commit, kill, start again, count."""
    server = ValkeyServer(free_port(), folder / "valkey")
    server.prepare()
    with busy_disk(folder):
        process = start(server, policy)
        acknowledged, latencies_s = asyncio.run(
            commit_until_killed(
                server.url,
                process,
                seconds=arguments.seconds,
                n_clients=arguments.clients,
                name=folder.name,
            )
        )
    process = start(server, policy)
    with Redis.from_url(server.url) as redis:
        kept = {fields[FIELD] for _, fields in redis.xrange(STREAM_KEY)}
    process.kill()
    process.wait()
    tally.rates.append(len(acknowledged) / arguments.seconds)
    tally.latencies_s += latencies_s
    tally.n_acknowledged += len(acknowledged)
    tally.n_lost += sum(payload not in kept for payload in acknowledged)


def show(tallies: dict[str, Tally]) -> None:
    """Print a line per policy."""
    base = float(np.median(tallies["everysec"].rates))
    print("appendfsync  commits/s  of everysec  p50 ms  p99 ms  acknowledged  lost by kill -9")
    for policy, tally in tallies.items():
        rate = float(np.median(tally.rates))
        p50, p99 = np.percentile(tally.latencies_s, [50, 99]) * 1e3
        print(
            f"{policy:<11}  {rate:>9,.0f}  {rate / base:>11.2f}  {p50:>6.1f}  {p99:>6.1f}"
            f"  {tally.n_acknowledged:>12,}  {tally.n_lost:>15,}"
        )


def main(words: Sequence[str]) -> int:
    """Play rounds of the policies in turns."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.durability", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of each policy (5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of commits in a round (3)")
    parser.add_argument("--clients", type=int, default=64, help="commits at once (64)")
    arguments = parser.parse_args(words)
    tallies = {policy: Tally() for policy in POLICIES}
    for number in range(arguments.rounds):
        for policy, tally in tallies.items():
            with tempfile.TemporaryDirectory(prefix=f"{policy}-{number}-") as folder:
                play_round(Path(folder), policy, arguments, tally)
    show(tallies)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
