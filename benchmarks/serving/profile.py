"""Where each microsecond of a request goes.

python -m benchmarks.serving.profile [--treatment contextual] [--requests 20000]

Runs a recommender under Python's profiler, plays sessions against it, and prints the share of its
time that each layer takes, the C functions that a layer calls counted as its own. The profiler
makes Python functions dearer than C, so these are shares, not microseconds; `python -m
benchmarks.serving` has those.
"""

import argparse
import asyncio
import cProfile
import pstats
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks.serving.services import (
    make_version,
    measure,
    publish,
    run_recommender,
    run_valkey,
)
from benchmarks.synthetic import make_synthetic_catalog
from services.recommender.__main__ import main as serve

# By the end of a file's path; the first that fits.
LAYERS = (
    ("HTTP: parsing and writing", ("recommender/connection.py", "uvicorn/")),
    ("the edge: body, headers, gate", ("recommender/api.py", "recommender/parsing.py")),
    (
        "session store and Redis",
        (
            "session_store.py",
            "stored_state.py",
            "guesses.py",
            "recent_states.py",
            "redis_connection.py",
        ),
    ),
    (
        "decision: policy and recommender",
        ("core/policies.py", "core/recommenders.py", "core/draws"),
    ),
    ("decision: the session's taste", ("core/session_", "core/taste_model.py", "numpy/")),
    ("decision: session, answer, event", ("recommender/core/", "shared/events.py", "uuid.py")),
    ("assignment", ("shared/experiments.py",)),
    ("metrics", ("metrics.py", "tallies.py")),
    ("event loop", ("asyncio/", "runners.py", "~")),
)


def profile(path: Path) -> int:
    """Serve until stopped, from SIGUSR1 on under the profiler."""
    profiler = cProfile.Profile(builtins=False)
    signal.signal(signal.SIGUSR1, lambda *_: profiler.enable())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # uvicorn passes it on when it is done
    try:
        return serve()
    finally:
        profiler.disable()
        profiler.dump_stats(path)


def layer_of(file: str) -> str:
    """Name the layer of a file."""
    return next((name for name, parts in LAYERS if any(part in file for part in parts)), "other")


def show(path: Path) -> None:
    """Print the layers, the dearest first, and the dearest functions."""
    layers: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    rows = pstats.Stats(str(path)).stats.items()  # type: ignore[attr-defined]  # not in its stub
    for (file, _, function), (_, _, own_s, _, _) in rows:
        layers[layer_of(file)] += own_s
        functions[f"{'/'.join(Path(file).parts[-2:])}: {function}"] += own_s
    total = sum(layers.values())
    for name, seconds in layers.most_common():
        print(f"{seconds / total:6.1%}  {name}")
    print("\nthe dearest functions, by their own time")
    for name, seconds in functions.most_common(15):
        print(f"{seconds / total:6.1%}  {name}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--treatment", default="contextual")
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--tracks", type=int, default=50_000)
    parser.add_argument("--serve", type=Path, help="where to, for its own use")
    arguments = parser.parse_args()
    if arguments.serve:
        sys.exit(profile(arguments.serve))
    catalog = make_synthetic_catalog(arguments.tracks)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tracks = folder / "tracks.json"
        tracks.write_bytes(catalog.to_json_lines())
        with run_valkey(folder) as valkey:
            asyncio.run(publish(valkey.url, make_version(catalog, dim=32)))
            command = ("-m", "benchmarks.serving.profile", "--serve", str(folder / "stats"))
            with run_recommender(
                folder, valkey.url, treatment=arguments.treatment, tracks=tracks, command=command
            ) as service:
                sizes = {"n_connections": 64, "n_tracks": arguments.tracks}
                measure(service, round_=0, n_requests=3200, **sizes)
                service.process.send_signal(signal.SIGUSR1)
                measure(service, round_=1, n_requests=arguments.requests, **sizes)
        show(folder / "stats")


if __name__ == "__main__":
    main()
