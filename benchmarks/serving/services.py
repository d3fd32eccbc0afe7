"""The servers that are compared, started and stopped."""

import asyncio
import contextlib
import os
import pickle
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psutil
from redis.asyncio import Redis

from benchmarks.serving.load import play
from benchmarks.synthetic import make_synthetic_arrays
from deploy.local.servers import ValkeyServer
from shared.artifacts import ModelManifest, ModelVersion, make_model, publish_model
from shared.catalog import Catalog
from shared.redis_client import create_redis

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Service:
    """A running server; `number` keeps its listeners apart from every other's."""

    name: str
    port: int
    process: psutil.Process
    number: int = 0

    def processes(self) -> list[psutil.Process]:
        """Return it and its workers."""
        return [self.process, *self.process.children()]

    def cpu_s(self) -> float:
        """Return the CPU seconds that it and its workers have used."""
        used = [one.cpu_times() for one in self.processes()]
        return float(sum(times.user + times.system for times in used))


@dataclass(frozen=True)
class Round:
    """One service's figures in one round: microseconds, requests per second, milliseconds."""

    cpu_us: float
    rate: float
    p50_ms: float
    p99_ms: float
    failures: dict[int, int]


def measure(
    service: Service,
    *,
    round_: int,
    n_connections: int,
    n_requests: int,
    n_tracks: int,
    rate: float = 0.0,
) -> Round:
    """Play sessions against one service; `rate` as in `load.play`.

    No two services get the same listeners: they share a Redis, and a session that another had
    begun would be longer, and dearer.
    """
    before = service.cpu_s()
    load = asyncio.run(
        play(
            service.port,
            n_connections=n_connections,
            n_requests=n_requests,
            n_tracks=n_tracks,
            first_user=service.number * 100_000_000 + round_ * 100_000,
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


def median_ratio(over: list[Round], under: list[Round], field: str = "cpu_us") -> float:
    """Return the median over rounds of the ratio within a round."""
    pairs = zip(over, under, strict=True)
    return statistics.median(getattr(a, field) / getattr(b, field) for a, b in pairs)


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def run(
    name: str,
    command: list[str],
    *,
    port: int,
    environment: Mapping[str, str] | None = None,
    number: int = 0,
) -> Iterator[Service]:
    """Run a server until the block ends."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, env=os.environ | dict(environment or {})
    )
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        else:
            raise SystemExit(f"{name} did not start")
        yield Service(name, port, psutil.Process(process.pid), number)
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def run_valkey(folder: Path) -> Iterator[ValkeyServer]:
    """Run a Valkey that appends every write to a file."""
    valkey = ValkeyServer(port=free_port(), folder=folder / "valkey")
    valkey.prepare()
    with run("valkey", valkey.command(), port=valkey.port):
        yield valkey


@contextlib.contextmanager
def run_recommender(
    folder: Path,
    redis_url: str,
    *,
    treatment: str,
    tracks: Path,
    n_workers: int = 1,
    name: str | None = None,
    number: int = 0,
    command: tuple[str, ...] = ("-m", "services.recommender"),
) -> Iterator[Service]:
    """Run a recommender that serves everybody by one treatment."""
    port = free_port()
    experiments = write_experiments(folder / f"{treatment}.yaml", treatment)
    environment = {
        "SEGUE_REDIS_URL": redis_url,
        "SEGUE_RECOMMENDER_PORT": str(port),
        "SEGUE_RECOMMENDER_WORKERS": str(n_workers),
        "SEGUE_RECOMMENDER_CATALOG": str(tracks),
        "SEGUE_RECOMMENDER_EXPERIMENTS": str(experiments),
        "SEGUE_RECOMMENDER_DEADLINE_S": "5",
        "SEGUE_LOG_LEVEL": "WARNING",
    }
    words = [sys.executable, *command]
    started = run(name or treatment, words, port=port, environment=environment, number=number)
    with started as service:
        yield service


def write_experiments(path: Path, treatment: str) -> Path:
    """Serve everybody by one treatment."""
    arms = [{"name": arm, "recommender": treatment} for arm in ("C", "T1")]
    definition = {"serving": "S", "experiments": [{"name": "S", "treatments": arms}]}
    path.write_bytes(msgspec.yaml.encode(definition))
    return path


def make_version(catalog: Catalog, version: str = "synthetic", *, dim: int) -> ModelVersion:
    """Make a version of random numbers."""
    manifest = ModelManifest(
        model_version=version,
        recipe="session",
        created_at=datetime.now(UTC),
        catalog_checksum=catalog.checksum,
    )
    return make_model(manifest, make_synthetic_arrays(len(catalog), dim))


async def publish(redis_url: str, model: ModelVersion) -> None:
    """Publish a version."""
    async with create_redis(redis_url) as redis:
        await publish_model(redis, model)


async def publish_pickles(redis_url: str, model: ModelVersion) -> None:
    """Store the parent's pickled lists."""
    neighbours = model.arrays["neighbours"]
    async with Redis.from_url(redis_url) as redis:
        for begin in range(0, len(neighbours), 5000):
            lists = neighbours[begin : begin + 5000].tolist()
            pickled = [
                pickle.dumps({"track": begin + i, "recommendations": found})
                for i, found in enumerate(lists)
            ]
            await redis.mset({str(begin + i): value for i, value in enumerate(pickled)})
