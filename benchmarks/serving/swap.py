"""Claim: a version serves 3 s after its publication began, everywhere 2 s later; nobody waits.

python -m benchmarks.serving.swap [--tracks 50000] [--workers 2] [--rounds 5] [--rate 600]

Plays sessions at a steady rate against a recommender with several workers, without and with a new
version in the middle, round by round. Prints medians over rounds: the time from the begin of the
publication to the first answer from the new version; from then to the last from the old one; the
99th percentile of latency without and with a swap, both with the work of publishing beside it, as
it shares this machine; and how many requests failed.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.serving.load import Load, play
from benchmarks.serving.services import make_version, publish, run_recommender, run_valkey
from benchmarks.synthetic import make_synthetic_catalog
from shared.artifacts import ModelVersion

N_CONNECTIONS = 64
SECONDS = 8.0


async def play_and_publish(
    port: int, redis_url: str, model: ModelVersion, *, rate: float, n_tracks: int, first_user: int
) -> tuple[Load, float, float]:
    """Play, publish meanwhile; return the load, and when publication began and ended."""
    n_requests = int(rate * SECONDS) // N_CONNECTIONS * N_CONNECTIONS

    async def publish_later() -> tuple[float, float]:
        await asyncio.sleep(SECONDS / 4)
        began = time.perf_counter()
        await asyncio.to_thread(asyncio.run, publish(redis_url, model))
        return began, time.perf_counter()

    load, (began, ended) = await asyncio.gather(
        play(
            port,
            n_connections=N_CONNECTIONS,
            n_requests=n_requests,
            n_tracks=n_tracks,
            first_user=first_user,
            rate=rate,
        ),
        publish_later(),
    )
    return load, began, ended


def p99_ms(load: Load) -> float:
    """Return the 99th percentile of latency."""
    return sorted(load.latencies_s)[int(len(load.latencies_s) * 0.99)] * 1e3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tracks", type=int, default=50_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rate", type=float, default=600.0)
    arguments = parser.parse_args()
    catalog = make_synthetic_catalog(arguments.tracks)
    with tempfile.TemporaryDirectory() as name, run_valkey(Path(name)) as valkey:
        tracks = Path(name) / "tracks.json"
        tracks.write_bytes(catalog.to_json_lines())
        asyncio.run(publish(valkey.url, make_version(catalog, "old", dim=32)))
        with run_recommender(
            Path(name),
            valkey.url,
            treatment="contextual",
            tracks=tracks,
            n_workers=arguments.workers,
        ) as service:
            found: dict[str, list[float]] = {}
            for round_ in range(2 * arguments.rounds):
                is_swap = round_ % 2 == 1
                version = f"new-{round_}" if is_swap else "aside"
                model = make_version(catalog, version, dim=32)
                load, began, _ = asyncio.run(
                    play_and_publish(
                        service.port,
                        valkey.url if is_swap else valkey.url[:-1] + "1",  # another database
                        model,
                        rate=arguments.rate,
                        n_tracks=arguments.tracks,
                        first_user=round_ * 100_000,
                    )
                )
                key = "with" if is_swap else "without"
                found.setdefault(f"p99 {key}", []).append(p99_ms(load))
                found.setdefault("failed", []).append(sum(load.failures.values()))
                if is_swap:
                    first, last = load.span_of(version)
                    found.setdefault("first", []).append(first - began)
                    found.setdefault("apart", []).append(max(0.0, last - first))
        middle = {name: statistics.median(values) for name, values in found.items()}
        print(
            f"{arguments.tracks:,} tracks, {arguments.workers} workers, {arguments.rate:.0f} "
            f"requests/s, medians of {arguments.rounds} rounds\n"
            f"first answer from the new version {middle['first']:.2f} s after publication began\n"
            f"last answer from the old one {middle['apart']:.2f} s later\n"
            f"p99 {middle['p99 without']:.1f} ms without a swap, {middle['p99 with']:.1f} ms with\n"
            f"{sum(found['failed']):.0f} requests failed"
        )


if __name__ == "__main__":
    main()
