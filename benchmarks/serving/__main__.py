"""Claim: the recommender answers at a fraction of the parent's cost, for less than a FastAPI echo.

python -m benchmarks.serving [--requests 6400] [--rounds 5] [--connections 64] [--tracks 50000]

Starts a Valkey and, beside it, a bare FastAPI echo, a service of the parent's design (Flask,
gevent, pickles; with TCP_NODELAY) and a recommender per treatment, and plays sessions against each
in turn, round by round. Prints medians over the rounds: CPU microseconds of the service per request
(by the operating system's accounting of its processes), requests per second, latencies, and the
requests per CPU second as a ratio to the echo's and the parent's in the same round. Then, for each,
the latency at half of the rate that it reached, and on a single connection. The recommender and
only it writes every event durably before it answers; the echo does nothing.

`2 workers` shows what a second worker costs: two processes on one port, CPU of both; `2 echoes` the
same of the echo, which is the machine's part of it. The load comes from this machine, so rates are
lower than what a service alone could reach; ratios are not.
"""

import argparse
import asyncio
import contextlib
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.serving.services import (
    FOLDER,
    Round,
    Service,
    free_port,
    make_version,
    measure,
    median,
    median_ratio,
    publish,
    publish_pickles,
    run,
    run_recommender,
    run_valkey,
)
from benchmarks.synthetic import make_synthetic_catalog

TREATMENTS = (("contextual", 1), ("session", 1), ("contextual", 2))


@contextlib.contextmanager
def run_services(folder: Path, *, n_tracks: int, dim: int) -> Iterator[list[Service]]:
    """Run everything that is compared."""
    catalog = make_synthetic_catalog(n_tracks)
    tracks = folder / "tracks.json"
    tracks.write_bytes(catalog.to_json_lines())
    with contextlib.ExitStack() as stack:
        valkey = stack.enter_context(run_valkey(folder))
        model = make_version(catalog, dim=dim)
        asyncio.run(publish(valkey.url, model))
        asyncio.run(publish_pickles(valkey.url, model))
        services = []
        for name, n_workers in (("echo", 1), ("2 echoes", 2)):
            port = free_port()
            command = [sys.executable, "-m", "benchmarks.serving.echo", str(port), str(n_workers)]
            services.append(stack.enter_context(run(name, command, port=port)))
        port = free_port()
        command = [sys.executable, str(FOLDER / "parent.py"), str(port), str(valkey.port)]
        command.append(str(folder / "parent.log"))
        services.append(stack.enter_context(run("parent", command, port=port)))
        for number, (treatment, n_workers) in enumerate(TREATMENTS):
            started = run_recommender(
                folder,
                valkey.url,
                treatment=treatment,
                tracks=tracks,
                n_workers=n_workers,
                name=treatment if n_workers == 1 else f"{n_workers} workers",
                number=number,
            )
            services.append(stack.enter_context(started))
        yield services


def show(name: str, rounds: list[Round], baselines: Mapping[str, list[Round]]) -> str:
    """Return a line: medians over rounds, and of the ratios within rounds."""
    ratios = "".join(f"{median_ratio(other, rounds):9.2f}" for other in baselines.values())
    failures = sum(sum(one.failures.values()) for one in rounds)
    return (
        f"{name:12}{median(rounds, 'cpu_us'):8.0f}{median(rounds, 'rate'):10.0f}"
        f"{median(rounds, 'p50_ms'):9.1f}{median(rounds, 'p99_ms'):9.1f}{ratios}"
        f"{f'   {failures} failed' if failures else ''}"
    )


def measure_calm(service: Service, rounds: list[Round], *, n_rounds: int, n_tracks: int) -> str:
    """Return a line: latencies at half the rate, and on one connection."""
    rate = median(rounds, "rate") / 2
    n_requests = 64 * max(1, round(3 * rate / 64))
    calm = [
        measure(
            service,
            round_=300 + n,
            n_connections=64,
            n_requests=n_requests,
            n_tracks=n_tracks,
            rate=rate,
        )
        for n in range(n_rounds)
    ]
    alone = [
        measure(service, round_=600 + n, n_connections=1, n_requests=1000, n_tracks=n_tracks)
        for n in range(n_rounds)
    ]
    return (
        f"{service.name:12}{rate:10.0f}{median(calm, 'p50_ms'):9.2f}{median(calm, 'p99_ms'):9.2f}"
        f"{median(alone, 'p50_ms'):14.2f}"
    )


def play_rounds(services: list[Service], arguments: argparse.Namespace) -> dict[str, list[Round]]:
    """Play against each service in turn, round by round; the first one warms up."""
    rounds: dict[str, list[Round]] = {}
    for round_ in range(arguments.rounds + 1):
        for service in services:
            figures = measure(
                service,
                round_=round_,
                n_connections=arguments.connections,
                n_requests=arguments.requests,
                n_tracks=arguments.tracks,
            )
            if round_ > 0:
                rounds.setdefault(service.name, []).append(figures)
    return rounds


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=6_400, help="a round and service")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--tracks", type=int, default=50_000)
    parser.add_argument("--dim", type=int, default=32)
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    arguments = parse()
    with (
        tempfile.TemporaryDirectory() as folder,
        run_services(Path(folder), n_tracks=arguments.tracks, dim=arguments.dim) as services,
    ):
        rounds = play_rounds(services, arguments)
        print(
            f"{arguments.tracks:,} tracks, {arguments.connections} connections, "
            f"medians of {arguments.rounds} rounds\n{'':12}"
            f"{'CPU us':>8}{'req/s':>10}{'p50 ms':>9}{'p99 ms':>9}{'x echo':>9}{'x parent':>9}"
        )
        baselines = {name: rounds[name] for name in ("echo", "parent")}
        for name, figures in rounds.items():
            print(show(name, figures, baselines), flush=True)
        for both, one in (("2 workers", "contextual"), ("2 echoes", "echo")):
            gain = 2 * median_ratio(rounds[one], rounds[both])
            print(f"{both} against one: {gain:.2f} times the requests, by CPU per request")
        print(f"\n{'half its rate':12}{'req/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'alone p50 ms':>14}")
        for service in services:
            figures = rounds[service.name]
            sizes = {"n_rounds": arguments.rounds, "n_tracks": arguments.tracks}
            print(measure_calm(service, figures, **sizes), flush=True)


if __name__ == "__main__":
    main()
