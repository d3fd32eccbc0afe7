"""Claim: the recommender answers at a fraction of the parent's cost, for less than a FastAPI echo.

python -m benchmarks.serving [--requests 6400] [--rounds 5] [--connections 64] [--tracks 50000]

Starts a Valkey and, beside it, a bare FastAPI echo, a service of the parent's design (Flask,
gevent, pickles; with TCP_NODELAY) and a recommender per treatment, and plays sessions against each
in turn, round by round. Prints medians over the rounds: CPU microseconds of the service per request
(by the operating system's accounting of its processes), requests per second, latencies, and the
requests per CPU second as a ratio to the echo's and the parent's in the same round. Then, for each,
the latency at half of the rate that it reached, and on a single connection. The recommender and
only it writes every event durably before it answers; the echo does nothing.

`2 workers` shows what a second worker costs: two processes on one port, CPU of both. The load comes
from this machine, so rates are lower than what a service alone could reach; ratios are not.
"""

import argparse
import asyncio
import contextlib
import os
import pickle
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psutil
from redis.asyncio import Redis

from benchmarks.serving.load import play
from benchmarks.synthetic import make_synthetic_arrays, make_synthetic_catalog
from deploy.local.servers import ValkeyServer
from shared.artifacts import ModelManifest, make_model, publish_model
from shared.catalog import Catalog

FOLDER = Path(__file__).parent
TREATMENTS = (("contextual", 1), ("session", 1), ("contextual", 2))


@dataclass(frozen=True)
class Service:
    """A running server."""

    name: str
    port: int
    process: psutil.Process

    def cpu_s(self) -> float:
        """Return the CPU seconds that it and its workers have used."""
        used = [one.cpu_times() for one in (self.process, *self.process.children())]
        return float(sum(times.user + times.system for times in used))


@dataclass(frozen=True)
class Round:
    """One service's figures in one round: microseconds, requests per second, milliseconds."""

    cpu_us: float
    rate: float
    p50_ms: float
    p99_ms: float
    failures: dict[int, int]


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def run(
    name: str, command: list[str], *, port: int, environment: dict[str, str] | None = None
) -> Iterator[Service]:
    """Run a server until the block ends."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, env=os.environ | (environment or {})
    )
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        else:
            raise SystemExit(f"{name} did not start")
        yield Service(name, port, psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait()


async def fill(valkey: ValkeyServer, catalog: Catalog, *, dim: int) -> None:
    """Publish a model version, and the parent's pickled lists."""
    n_tracks = len(catalog)
    arrays = make_synthetic_arrays(n_tracks, dim)
    manifest = ModelManifest(
        model_version="synthetic",
        recipe="session",
        created_at=datetime.now(UTC),
        catalog_checksum=catalog.checksum,
        parent=None,
        data_from=datetime.now(UTC),
        data_until=datetime.now(UTC),
        n_sessions=0,
        n_playbacks=0,
        parameters={},
        seed=0,
        code_version="benchmark",
        metrics={},
    )
    async with Redis.from_url(valkey.url) as redis:
        await publish_model(redis, make_model(manifest, arrays))
        for begin in range(0, n_tracks, 5000):
            lists = arrays["neighbours"][begin : begin + 5000].tolist()
            pickled = [
                pickle.dumps({"track": begin + i, "recommendations": found})
                for i, found in enumerate(lists)
            ]
            await redis.mset({str(begin + i): value for i, value in enumerate(pickled)})


def write_experiments(path: Path, treatment: str) -> Path:
    """Serve everybody by one treatment."""
    arms = [{"name": arm, "recommender": treatment} for arm in ("C", "T1")]
    definition = {"serving": "S", "experiments": [{"name": "S", "treatments": arms}]}
    path.write_bytes(msgspec.yaml.encode(definition))
    return path


@contextlib.contextmanager
def run_services(folder: Path, *, n_tracks: int, dim: int) -> Iterator[list[Service]]:
    """Run everything that is compared."""
    catalog = make_synthetic_catalog(n_tracks)
    (folder / "tracks.json").write_bytes(catalog.to_json_lines())
    with contextlib.ExitStack() as stack:
        valkey = ValkeyServer(port=free_port(), folder=folder / "valkey")
        valkey.prepare()
        stack.enter_context(run("valkey", valkey.command(), port=valkey.port))
        asyncio.run(fill(valkey, catalog, dim=dim))
        services = []
        port = free_port()
        command = [sys.executable, str(FOLDER / "echo.py"), str(port)]
        services.append(stack.enter_context(run("echo", command, port=port)))
        port = free_port()
        command = [sys.executable, str(FOLDER / "parent.py"), str(port), str(valkey.port)]
        command.append(str(folder / "parent.log"))
        services.append(stack.enter_context(run("parent", command, port=port)))
        for treatment, n_workers in TREATMENTS:
            port = free_port()
            environment = {
                "SEGUE_REDIS_URL": valkey.url,
                "SEGUE_RECOMMENDER_PORT": str(port),
                "SEGUE_RECOMMENDER_WORKERS": str(n_workers),
                "SEGUE_RECOMMENDER_CATALOG": str(folder / "tracks.json"),
                "SEGUE_RECOMMENDER_EXPERIMENTS": str(
                    write_experiments(folder / f"{treatment}.yaml", treatment)
                ),
                "SEGUE_LOG_LEVEL": "WARNING",
            }
            command = [sys.executable, "-m", "services.recommender"]
            name = treatment if n_workers == 1 else f"{n_workers} workers"
            services.append(
                stack.enter_context(run(name, command, port=port, environment=environment))
            )
        yield services


def measure(
    service: Service,
    *,
    round_: int,
    n_connections: int,
    n_requests: int,
    n_tracks: int,
    rate: float = 0.0,
) -> Round:
    """Play sessions against one service; `rate` as in `load.play`."""
    before = service.cpu_s()
    load = asyncio.run(
        play(
            service.port,
            n_connections=n_connections,
            n_requests=n_requests,
            n_tracks=n_tracks,
            round_=round_,
            rate=rate,
        )
    )
    n, latencies = len(load.latencies_s), sorted(load.latencies_s)
    return Round(
        cpu_us=(service.cpu_s() - before) / n * 1e6,
        rate=n / load.seconds,
        p50_ms=latencies[n // 2] * 1e3,
        p99_ms=latencies[int(n * 0.99)] * 1e3,
        failures=load.failures,
    )


def median(rounds: list[Round], field: str) -> float:
    """Return the median of a figure over rounds."""
    return statistics.median(getattr(one, field) for one in rounds)


def show(name: str, rounds: list[Round], baselines: dict[str, list[Round]]) -> str:
    """Return a line: medians over rounds, and of the ratios within rounds."""
    ratios = "".join(
        f"{statistics.median(b.cpu_us / r.cpu_us for b, r in zip(other, rounds, strict=True)):9.2f}"
        for other in baselines.values()
    )
    failures = sum(sum(one.failures.values()) for one in rounds)
    return (
        f"{name:12}{median(rounds, 'cpu_us'):8.0f}{median(rounds, 'rate'):10.0f}"
        f"{median(rounds, 'p50_ms'):9.1f}{median(rounds, 'p99_ms'):9.1f}{ratios}"
        f"{f'   {failures} failed' if failures else ''}"
    )


def measure_calm(service: Service, rounds: list[Round], *, n_rounds: int, n_tracks: int) -> str:
    """Return a line: latencies at half the rate, and on one connection."""
    rate = median(rounds, "rate") / 2
    sizes = {"n_tracks": n_tracks}
    calm = [
        measure(
            service,
            round_=1000 + n,
            n_connections=64,
            n_requests=64 * max(1, round(3 * rate / 64)),
            rate=rate,
            **sizes,
        )
        for n in range(n_rounds)
    ]
    alone = [
        measure(service, round_=200_000 + n, n_connections=1, n_requests=1000, **sizes)
        for n in range(n_rounds)
    ]
    return (
        f"{service.name:12}{rate:10.0f}{median(calm, 'p50_ms'):9.2f}{median(calm, 'p99_ms'):9.2f}"
        f"{median(alone, 'p50_ms'):14.2f}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=6_400, help="a round and service")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--tracks", type=int, default=50_000)
    parser.add_argument("--dim", type=int, default=32)
    arguments = parser.parse_args()
    sizes = {
        "n_connections": arguments.connections,
        "n_requests": arguments.requests,
        "n_tracks": arguments.tracks,
    }
    rounds: dict[str, list[Round]] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        run_services(Path(folder), n_tracks=arguments.tracks, dim=arguments.dim) as services,
    ):
        for round_ in range(arguments.rounds + 1):  # the first one warms up
            for service in services:
                figures = measure(service, round_=round_, **sizes)
                if round_ > 0:
                    rounds.setdefault(service.name, []).append(figures)
        print(
            f"{arguments.tracks:,} tracks, {arguments.connections} connections, "
            f"medians of {arguments.rounds} rounds\n{'':12}"
            f"{'CPU us':>8}{'req/s':>10}{'p50 ms':>9}{'p99 ms':>9}{'x echo':>9}{'x parent':>9}"
        )
        baselines = {name: rounds[name] for name in ("echo", "parent")}
        for name, figures_of in rounds.items():
            print(show(name, figures_of, baselines), flush=True)
        print(f"\n{'half its rate':12}{'req/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'alone p50 ms':>14}")
        for service in services:
            print(
                measure_calm(
                    service,
                    rounds[service.name],
                    n_rounds=arguments.rounds,
                    n_tracks=arguments.tracks,
                ),
                flush=True,
            )


if __name__ == "__main__":
    main()
