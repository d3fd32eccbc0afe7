"""Claim: a request costs the same among a million tracks; and what memory tracks and sessions take.

python -m benchmarks.serving.growth [--tracks 50000 1000000] [--rounds 5] [--treatment contextual]

Runs a recommender for each size of catalogue, each beside a Valkey of its own, and plays sessions
against both in turn. Prints medians over rounds of the CPU microseconds per request, and of their
ratio to the first size's in the same round; the resident memory of the service; and the bytes in
Redis of the catalogue and of a model version (32 dimensions, 50 neighbours) by track, of a session
of thirty tracks, and of an event that waits for the logger.
"""

import argparse
import asyncio
import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from redis.asyncio import Redis

from benchmarks.serving.services import (
    Round,
    Service,
    make_version,
    measure,
    median,
    median_ratio,
    publish,
    run_recommender,
    run_valkey,
)
from benchmarks.synthetic import make_synthetic_catalog
from shared.catalog_store import CATALOG_KEY
from shared.event_stream import STREAM_KEY


@contextlib.contextmanager
def run_size(folder: Path, n_tracks: int, treatment: str) -> Iterator[tuple[Service, str]]:
    """Run a recommender among so many tracks; yield it and where its Redis is."""
    folder.mkdir()
    catalog = make_synthetic_catalog(n_tracks)
    tracks = folder / "tracks.json"
    tracks.write_bytes(catalog.to_json_lines())
    with run_valkey(folder) as valkey:
        asyncio.run(publish(valkey.url, make_version(catalog, dim=32)))
        started = run_recommender(folder, valkey.url, treatment=treatment, tracks=tracks)
        with started as service:
            yield service, valkey.url


async def weigh(url: str, n_tracks: int) -> str:
    """Return a line: what Redis holds, in bytes."""
    async with Redis.from_url(url) as redis:

        async def weigh_keys(pattern: str) -> list[int]:
            keys = [key async for key in redis.scan_iter(pattern, count=1000)]
            return sorted([await redis.memory_usage(key, samples=0) or 0 for key in keys])

        model = sum(await weigh_keys("segue:{models}:synthetic:*"))
        sessions = await weigh_keys("segue:session:*")
        events = await redis.memory_usage(STREAM_KEY, samples=0) / await redis.xlen(STREAM_KEY)
        catalog = await redis.memory_usage(CATALOG_KEY, samples=0)
    return (
        f"{catalog / n_tracks:6.0f} B a track of the catalogue, {model / n_tracks:4.0f} "
        f"of a version, {sessions[len(sessions) // 2]:6} a session, {events:4.0f} an event"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tracks", type=int, nargs="+", default=[50_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=6_400)
    parser.add_argument("--treatment", default="contextual")
    arguments = parser.parse_args()
    rounds: dict[int, list[Round]] = {n: [] for n in arguments.tracks}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        running: dict[int, tuple[Service, str]] = {
            n: stack.enter_context(run_size(Path(folder) / str(n), n, arguments.treatment))
            for n in arguments.tracks
        }
        for round_ in range(arguments.rounds + 1):  # the first one warms up
            for n, (service, _) in running.items():
                figures = measure(
                    service,
                    round_=round_,
                    n_connections=64,
                    n_requests=arguments.requests,
                    n_tracks=n,
                )
                rounds[n] += [figures] if round_ else []
        for n, (service, url) in running.items():
            ratio = median_ratio(rounds[n], rounds[arguments.tracks[0]])
            rss = service.process.memory_info().rss / 1e6
            print(
                f"{n:>10,} tracks: {median(rounds[n], 'cpu_us'):5.0f} us, {ratio:.2f} times; "
                f"{rss:5.0f} MB resident;{asyncio.run(weigh(url, n))}",
                flush=True,
            )


if __name__ == "__main__":
    main()
