"""Claim: ten thousand idle connections, and slow senders, cost others nothing.

python -m benchmarks.serving.idle [--connections 10000] [--rounds 3]

Plays sessions against a recommender, then again while as many idle connections are open, a
hundredth of which have begun a request that they never end. Prints failures, CPU microseconds per
request in both, their ratio in one round, and what the connections take of the service's memory.
"""

import argparse
import asyncio
import contextlib
import resource
import socket
import tempfile
from pathlib import Path

from benchmarks.serving.services import (
    Round,
    make_version,
    measure,
    median,
    median_ratio,
    publish,
    run_recommender,
    run_valkey,
)
from benchmarks.synthetic import make_synthetic_catalog

N_TRACKS = 50_000
SLOW = b"POST /next/1 HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 30\r\n\r\n{"


def open_idle(stack: contextlib.ExitStack, port: int, n: int) -> None:
    """Open connections; every hundredth begins a report."""
    for number in range(n):
        client = stack.enter_context(socket.create_connection(("127.0.0.1", port), 30))
        if number % 100 == 0:
            client.sendall(SLOW)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=6_400)
    arguments = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    catalog = make_synthetic_catalog(N_TRACKS)
    alone: list[Round] = []
    crowded: list[Round] = []
    with tempfile.TemporaryDirectory() as name, run_valkey(Path(name)) as valkey:
        tracks = Path(name) / "tracks.json"
        tracks.write_bytes(catalog.to_json_lines())
        asyncio.run(publish(valkey.url, make_version(catalog, dim=32)))
        started = run_recommender(Path(name), valkey.url, treatment="contextual", tracks=tracks)
        with started as service:
            sizes = {"n_connections": 64, "n_requests": arguments.requests, "n_tracks": N_TRACKS}
            measure(service, round_=0, **sizes)
            grown = 0
            for round_ in range(arguments.rounds):
                alone.append(measure(service, round_=2 * round_ + 1, **sizes))
                before = service.process.memory_info().rss
                with contextlib.ExitStack() as stack:
                    open_idle(stack, service.port, arguments.connections)
                    crowded.append(measure(service, round_=2 * round_ + 2, **sizes))
                    grown = max(grown, service.process.memory_info().rss - before)
    failures = sum(sum(one.failures.values()) for one in alone + crowded)
    print(
        f"alone {median(alone, 'cpu_us'):.0f} us a request, beside {arguments.connections:,} idle "
        f"connections {median(crowded, 'cpu_us'):.0f} us ({median_ratio(crowded, alone):.2f} "
        f"times); {failures} failed; {grown / arguments.connections / 1e3:.1f} kB a connection"
    )


if __name__ == "__main__":
    main()
