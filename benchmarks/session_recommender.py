"""Claim: a decision by the session's taste costs under 400 us of CPU, and bytes that are bounded.

python -m benchmarks.session_recommender [--tracks 50000] [--dim 32] [--plays 100]

Plays sessions through the decision that the service makes, without HTTP and Redis, on a synthetic
model: CPU microseconds per decision, state decoded and encoded, for `contextual` and for `session`
with some numbers of candidates, as a ratio to `contextual` in the same run; the dearest decisions
(those that draw candidates anew); and the bytes that a session is between two requests.
"""

import argparse
import time
from typing import Any

import msgspec
import numpy as np

from services.recommender.adapters.session_store import _decoder, _encode
from services.recommender.core.catalog_index import CatalogIndex, make_catalog_index
from services.recommender.core.decisions import Clock, Decider
from services.recommender.core.models import Models, ServedModel, make_served_model
from services.recommender.core.sessions import Report
from shared.catalog import Track, make_catalog
from shared.experiments import parse_experiments

N_ARTISTS = 5_000


def make_synthetic(n_tracks: int, d: int) -> tuple[CatalogIndex, ServedModel]:
    """Make a catalogue and a model of random numbers."""
    rng = np.random.default_rng(0)
    index = make_catalog_index(
        make_catalog(Track(i, f"artist {i % N_ARTISTS}", f"title {i}") for i in range(n_tracks))
    )
    floats = {
        "track_embedding": rng.normal(size=(n_tracks, d)) * 0.7,
        "track_variance": rng.uniform(0.5, 2.0, n_tracks),
        "session_start": np.eye(d + 1, d) * 0.6,
        "session_covariance": np.eye(d) * 0.4,
        "user_listener": np.array([[1.1, 4.0, 0.15, 0.5, 4.0]]),
        "session_constants": np.array([0.8, 0.3]),
    }
    arrays: dict[str, Any] = {name: value.astype(np.float32) for name, value in floats.items()}
    arrays["user_ids"] = np.empty(0, np.int32)
    arrays["neighbours"] = rng.integers(0, n_tracks, (n_tracks, 200), np.int32)
    arrays["top_tracks"] = np.arange(n_tracks, dtype=np.int32)
    return index, make_served_model("m", checksum=index.checksum, arrays=arrays, catalog=index)


def make_decider(index: CatalogIndex, recommender: str, parameters: dict[str, Any]) -> Decider:
    """Serve everybody by one recommender."""
    arms = [{"name": n, "recommender": recommender, "parameters": parameters} for n in ("C", "T1")]
    definition = {"serving": "S", "experiments": [{"name": "S", "treatments": arms}]}
    experiments = parse_experiments(msgspec.yaml.encode(definition))
    return Decider(index, experiments, seed=0, clock=Clock())


def measure(
    decider: Decider, models: Models, *, n_sessions: int, n_plays: int
) -> tuple[list[float], int]:
    """Return CPU microseconds of every decision and the largest state in bytes."""
    costs, largest = [], 0
    rng = np.random.default_rng(1)
    for user in range(n_sessions):
        stored, track, listened = b"", int(rng.integers(0, 1000)), 1.0
        for _ in range(n_plays):
            started = time.process_time_ns()
            state = _decoder.decode(stored) if stored else None
            outcome = decider.decide(Report("next", user, track, listened), state, models)
            assert outcome.state
            stored = _encode(outcome.state)
            costs.append((time.process_time_ns() - started) / 1000)
            largest = max(largest, len(stored))
            assert outcome.event
            assert outcome.event.recommendation is not None
            track, listened = outcome.event.recommendation, int(rng.integers(0, 101)) / 100
    return costs, largest


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tracks", type=int, default=50_000)
    parser.add_argument("--dim", type=int, default=32)
    parser.add_argument("--plays", type=int, default=100, help="per session")
    parser.add_argument("--sessions", type=int, default=30)
    arguments = parser.parse_args()
    index, model = make_synthetic(arguments.tracks, arguments.dim)
    models = Models({"latest": model})
    variants: list[tuple[str, dict[str, Any]]] = [("contextual", {})]
    variants += [("session", {"candidates": n}) for n in (100, 300, 1000, 2000)]
    baseline = 0.0
    for name, parameters in variants:
        decider = make_decider(index, name, parameters)
        measure(decider, models, n_sessions=2, n_plays=20)
        costs, largest = measure(
            decider, models, n_sessions=arguments.sessions, n_plays=arguments.plays
        )
        mean = float(np.mean(costs))
        baseline = baseline or mean
        print(
            f"{name:10} {parameters or ''!s:22} {mean:7.1f} us a decision, "
            f"{mean / baseline:5.2f} times contextual; median {np.median(costs):6.1f}, "
            f"p99 {np.percentile(costs, 99):7.1f}; state at most {largest:,} bytes",
            flush=True,
        )


if __name__ == "__main__":
    main()
